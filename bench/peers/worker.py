"""Runs in the peers' own environment: a line of JSON comes in, an npz file and a line of JSON go out.

    {"method": "smt_gpx", "data": "in.npz", "out": "out.npz", "seed": 3, "noisy": false}
    -> {"fit_cpu_s": 0.7, ..., "version": "2.15.0", "packages": "smt 2.15.0, ..."}   or   {"error": "..."}
A method is a file beside this one with `fit`, `PACKAGES` and `HOW`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import sys
import traceback
import warnings

import numpy as np
from components import COMPONENTS, on_components
from measuring import measure


def answer(task: dict) -> dict:
    """One fit."""
    method = importlib.import_module(task["method"])
    fit = functools.partial(method.fit, noisy=task["noisy"])
    data = np.load(task["data"])
    profiles = data["y"].ndim == 2
    found = measure(on_components(fit) if profiles else fit, data["x"], data["y"], data["test"], data["many"], seed=task["seed"])
    np.savez(task["out"], mean=found.mean, lower=found.lower, upper=found.upper)
    versions = [f"{package} {importlib.metadata.version(package)}" for package in method.PACKAGES]
    how = f"{COMPONENTS} principal components, {method.HOW}" if profiles else ""
    return {**found.times, "version": versions[0].split()[1], "packages": "; ".join(versions), "note": how}


def main() -> None:
    """Until standard input ends; what packages print goes to standard error."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
