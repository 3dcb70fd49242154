"""Loading dispatches on the learner that a file names."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

import mlforhpc as ml
from mlforhpc.core.errors import StoreDamaged, UnknownName, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.learners import _saved, gaussian_process
from mlforhpc.learners._loading import IN_A_RUN, load

SPACE = ml.Space(a=ml.Real(0, 1))


@pytest.fixture(scope="module")
def fitted():
    """A surrogate of a line."""
    x = np.linspace(0, 1, 8)[:, None]
    ones = np.ones(8)
    data = Dataset(
        space=SPACE, outputs=(ml.Output(name="y"),), x=x, y={"y": 2 * x[:, 0]}, y_se={}, outcome=("ok",) * 8, fidelity=ones, cost_s=ones
    )
    return gaussian_process.create(folds=2).fit(data, seed=0)


@pytest.mark.parametrize("where", ["file", "run", "text"])
def test_a_file_or_a_run_folder(fitted, tmp_path, where):
    """Both answer as the surrogate did, bit for bit; a path as text is fine."""
    file = tmp_path / IN_A_RUN
    fitted.save(file)
    loaded = ml.load({"file": file, "run": tmp_path, "text": str(file)}[where])
    x = np.array([[0.3], [0.9]])
    assert loaded.version == fitted.version
    assert np.array_equal(loaded.predict(x).mean["y"], fitted.predict(x).mean["y"])


def test_another_learner_loads_its_own(tmp_path, monkeypatch):
    """The module that answers to the name in the file is the one that is asked."""
    path = tmp_path / "s.safetensors"
    _saved.write(path, {"schema_version": _saved.SCHEMA_VERSION, "learner": "lines"}, {"a": np.ones(2)})
    module = types.ModuleType("lines_learner")
    module.load = lambda file: ("lines", file)
    monkeypatch.setitem(sys.modules, "lines_learner", module)
    monkeypatch.setattr("mlforhpc.core.names.find", lambda group: {"lines": "lines_learner"})
    assert load(path) == ("lines", path)


def test_what_is_no_surrogate_is_a_sentence(fitted, tmp_path):
    """No file, a folder without one, another safetensors file, an unknown learner, a torn file, a changed one."""
    path = tmp_path / "s.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        load(path)
    with pytest.raises(UsageError, match="holds no surrogate"):
        load(tmp_path)
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(UsageError, match="not a surrogate"):
        load(path)
    _saved.write(path, {"schema_version": _saved.SCHEMA_VERSION, "learner": "gaussian_proces"}, {"a": np.ones(2)})
    with pytest.raises(UnknownName, match="Did you mean 'gaussian_process'"):
        load(path)
    fitted.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:400])
    with pytest.raises(StoreDamaged, match="not a complete"):
        load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreDamaged, match="changed after it was saved"):
        load(path)
