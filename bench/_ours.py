"""Our learners beside the peers: the same measurement, through the package's public interface.

A learner is imported when it is measured, not before: peers can be measured while ours is being worked on.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import time
from pathlib import Path

import numpy as np

from _emulation import FUNCTIONS, Key, dataset
from mlforhpc import learners
from mlforhpc.core import names
from mlforhpc.core.learner import Dataset
from peers.measuring import Answer, Measured, Predict, measure

NAMES = ("gaussian_process", "auto")


def present() -> list[str]:
    """Those of our learners that are compared by default."""
    return [name for name in NAMES if name in names.find("learners")]


@functools.cache
def version() -> str:
    """The package's, and a hash of the learners' source: rows of different ones do not mix."""
    digest = hashlib.sha256()
    for path in sorted(Path(inspect.getfile(learners)).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"{importlib.metadata.version('mlforhpc')}+{digest.hexdigest()[:8]}"


def measured(key: Key, u: np.ndarray, y: np.ndarray, test: np.ndarray, many: np.ndarray) -> tuple[Measured, dict[str, str]]:
    """Fit with calibration, answers, and the fit alone."""
    simulation = FUNCTIONS[key.function]
    decode = simulation.space.decode
    learner = names.load("learners", key.method).create()
    name, shape = simulation.outputs[0].name, simulation.outputs[0].shape

    def fit(x: np.ndarray, y: np.ndarray, *, seed: int) -> Predict:
        surrogate = learner.fit(dataset(simulation, x, y), seed=seed)

        def predict(points: np.ndarray) -> Answer:
            found = surrogate.predict(points, coverage=0.9)
            return found.mean[name], found.lower[name], found.upper[name]

        return predict

    found = measure(fit, decode(u), y.reshape(len(y), *shape), decode(test), decode(many), seed=key.seed)
    flat = [a.reshape(len(test), -1) if shape else a for a in (found.mean, found.lower, found.upper)]
    times = {**found.times, **alone(key, dataset(simulation, decode(u), y.reshape(len(y), *shape)))}
    told = {"version": version(), "packages": f"mlforhpc {version()}; numpy {np.__version__}", "note": ""}
    return Measured(mean=flat[0], lower=flat[1], upper=flat[2], times=times), told


def alone(key: Key, data: Dataset) -> dict[str, float]:
    """CPU seconds of the Gaussian process without the refitted folds that calibrate its intervals."""
    if key.method != "gaussian_process":
        return {}
    process, table = names.load("learners", key.method), importlib.import_module("mlforhpc.learners._table")
    options = process.create().options
    begin = time.process_time()
    process.fit_whole(table.tabulate(data), options, key.seed)
    return {"fit_whole_cpu_s": time.process_time() - begin}
