"""A writer in a process of its own, and the records that the tests of the store write.

python writer_process.py FOLDER FIRST COUNT GROUP [shared]: puts in groups, printing each key when it is acknowledged.
"""

import hashlib
import os
import sys

import numpy as np

from mlforhpc.core.record import Record
from mlforhpc.store import FolderStore


def make_record(i, size=20, **changes):
    """Record number i, the same in every process; `size` float64 numbers in its profile."""
    rng = np.random.default_rng(i)
    fields = {
        "key": hashlib.sha256(str(i).encode()).hexdigest(),
        "simulation": "electrolyte",
        "version": "1",
        "parameters": {"h": 3.0 + i / 7, "z": 1 + i % 3, "salt": "NaCl"},
        "settings": {"dt": 0.01},
        "fidelity": 0.5,
        "seed": i,
        "outcome": "ok",
        "outputs": {"density": rng.normal(size=size), "energy": np.asarray(rng.normal())},
        "standard_errors": {"density": rng.random(size)},
        "checks": {"temperature": 1.0 / 3.0},
        "cost_s": 1.25,
        "system": "a laptop",
    }
    return Record(**{**fields, **changes})


def main(folder, first, count, group, *mode):
    """Write and print what was acknowledged; every tenth record has an array file."""
    first, count, group = int(first), int(count), int(group)
    with FolderStore.open(folder, shared="shared" in mode or None) as store:
        for start in range(first, first + count, group):
            numbers = range(start, min(start + group, first + count))
            records = [make_record(i, size=10_000 if i % 10 == 0 else 20) for i in numbers]
            for record, future in [(record, store.put(record)) for record in records]:
                future.result()
                os.write(1, f"{record.key}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
