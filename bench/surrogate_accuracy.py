"""How accurate are our surrogates beside those of other packages, how honest their intervals, and what do they cost?

Peers live in an environment of their own:
    python -m venv PEERS && PEERS/bin/pip install torch==2.13.0
    PEERS/bin/pip install -r bench/peers/requirements.txt
Then
    python bench/surrogate_accuracy.py --peers PEERS/bin/python     all methods; names of methods, --functions, --sizes, --seeds select
    python bench/surrogate_accuracy.py --table                      writes docs/surrogate-accuracy.md from what has been measured
Every finished row is appended to bench/results/surrogate_accuracy.csv and not computed again; the last row of its kind counts.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import _accuracy_table
import _ours
from _emulation import FUNCTIONS, NOISY, SEEDS, SIZES, Key, design, held_out, scores
from peers.measuring import Measured

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "surrogate_accuracy.csv"
COLUMNS = [
    "function", "method", "n", "seed", "version", "nrmse", "coverage_90", "interval_score", "fit_cpu_s", "fit_whole_cpu_s",
    "latency_p50_cpu_ms", "answers_10000_cpu_s", "packages", "note",
]  # fmt: skip
PEERS = ("scikit_learn", "smt_gpx", "botorch_single_task", "smt_krg", "mapie_jackknife_plus")
DEAR = ("smt_krg", "mapie_jackknife_plus")
DEAR_SEEDS, DEAR_SIZE = 3, 200
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


def main() -> None:
    """Compute what is missing, or write the table."""
    chosen = arguments()
    if chosen.table:
        print(_accuracy_table.write(chosen.results, ROOT / "docs" / "surrogate-accuracy.md"))
        return
    todo = [key for key in wanted(chosen) if missing(key, chosen)]
    print(f"{len(todo)} rows to compute", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(chosen.peers, Path(folder))
        for i, key in enumerate(todo):
            if not missing(key, chosen):  # another process may have been faster
                continue
            row = {**vars(key), **computed(key, worker if key.method in PEERS else _ours.measured)}
            append(chosen.results, row)
            print(f"{i + 1}/{len(todo)} {key.function} {key.method} n={key.n} seed={key.seed}", end=" ")
            print(f"nrmse {row.get('nrmse', np.nan):.4g} fit {row.get('fit_cpu_s', np.nan):.3g} s {row.get('note', '')}", flush=True)
        worker.close()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", help=f"learners, or of {', '.join(PEERS)}; default: gaussian_process, auto, and all peers")
    parser.add_argument("--peers", type=Path, help="Python of the peers' environment")
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(SEEDS)))
    parser.add_argument("--again", action="append", default=[], metavar="METHOD", help="compute rows of this method that are there, too")
    parser.add_argument("--stale", action="store_true", help="compute rows of our learners that another version of them has made, too")
    parser.add_argument("--table", action="store_true", help="write docs/surrogate-accuracy.md instead")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    chosen.methods = chosen.methods or [*_ours.present(), *(PEERS if chosen.peers else ())]
    if not chosen.peers and set(chosen.methods) & set(PEERS):
        parser.error("Peers run in an environment of their own: name its Python with --peers.")
    return chosen


def wanted(chosen: argparse.Namespace) -> Iterator[Key]:
    """Rows in the order in which they are of use: numbers before profiles, the dear methods last and on fewer designs."""
    for profiles, dear in itertools.product((False, True), (False, True)):
        methods = [m for m in chosen.methods if (m in DEAR) == dear]
        functions = [f for f in chosen.functions if bool(FUNCTIONS[f].outputs[0].shape) == profiles]
        sizes = [n for n in chosen.sizes if n <= DEAR_SIZE or not dear]
        seeds = [s for s in chosen.seeds if s < DEAR_SEEDS or not dear]
        for n, seed, method, function in itertools.product(sizes, seeds, methods, functions):
            yield Key(function, method, n, seed)


def computed(key: Key, method: Callable[..., tuple[Measured, dict[str, str]]]) -> dict[str, object]:
    """What one method makes of one cell; a failure is a row as well."""
    x, y = design(key.function, key.n, key.seed)
    test = held_out(key.function, key.seed)
    try:
        found, told = method(key, x, y, test.u, test.many)
    except Exception as error:
        return {"version": "", "note": f"failed: {type(error).__name__}: {error}"}
    return {**scores(found, test), **found.times, **told}


class Worker:
    """The peers' environment, one process, started when it is first wanted and again after it broke off."""

    def __init__(self, python: Path | None, folder: Path) -> None:
        self.python, self.folder, self.process = python, folder, None

    def __call__(self, key: Key, x: np.ndarray, y: np.ndarray, test: np.ndarray, many: np.ndarray) -> tuple[Measured, dict[str, str]]:
        if self.process is None or self.process.poll() is not None:
            command = [str(self.python), str(ROOT / "bench" / "peers" / "worker.py")]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
            )
        data, out = self.folder / "in.npz", self.folder / "out.npz"
        np.savez(data, x=x, y=y, test=test, many=many)
        task = {"method": key.method, "data": str(data), "out": str(out), "seed": key.seed, "noisy": key.function in NOISY}
        print(json.dumps(task), file=self.process.stdin, flush=True)
        reply = json.loads(self.process.stdout.readline() or '{"error": "the worker broke off"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        told = {name: reply.pop(name) for name in ("version", "packages", "note")}
        with np.load(out) as answers:
            return Measured(mean=answers["mean"], lower=answers["lower"], upper=answers["upper"], times=reply), told

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def finished(path: Path) -> dict[Key, str]:
    """Version of every row that is there."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {Key(r["function"], r["method"], int(r["n"]), int(r["seed"])): r["version"] for r in csv.DictReader(file)}


def missing(key: Key, chosen: argparse.Namespace) -> bool:
    """Whether a row is still to be computed."""
    done = finished(chosen.results)
    outdated = chosen.stale and key.method not in PEERS and done.get(key) != _ours.version()
    return key not in done or key.method in chosen.again or outdated


def append(path: Path, row: dict[str, object]) -> None:
    """One line, at once: another process may be appending its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # read when NumPy is loaded, so before anything else
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
