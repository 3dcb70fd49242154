"""Surrogates on disk: bit for bit the same after loading, refused after tampering."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from mlforhpc.core.errors import StoreDamaged, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.learners._saved import content_hash, output_from_json, output_to_json, space_from_json, space_to_json, write

SPACE = Space(a=Real(0.1, 10.0, log=True, unit="nm"), k=Integer(1, 3), c=Choice(("x", "y")))


@pytest.fixture(scope="module")
def surrogate():
    """A small surrogate of a number and a profile."""
    x = SPACE.decode(np.random.default_rng(0).random((20, 3)))
    y = {"n": np.log(x[:, 0]) * x[:, 1], "p": np.log(x[:, :1]) * np.arange(1.0, 4.0) + x[:, 2:]}
    outputs = (Output(name="n"), Output(name="p", shape=(3,), unit="nm", scale=2.0, derived=True))
    ones = np.ones(20)
    data = Dataset(space=SPACE, outputs=outputs, x=x, y=y, y_se={}, outcome=("ok",) * 20, fidelity=ones, cost_s=ones)
    return gaussian_process.create(folds=4).fit(data, seed=0)


@pytest.fixture
def saved(surrogate, tmp_path):
    """Its file."""
    path = tmp_path / "folder" / "s.safetensors"
    surrogate.save(path)
    return path


def test_a_loaded_surrogate_answers_bit_for_bit_the_same(surrogate, saved):
    """All predictions, the version, the space, the outputs and the card."""
    loaded = gaussian_process.load(saved)
    assert (loaded.version, loaded.space, loaded.outputs, dict(loaded.card)) == (
        surrogate.version,
        surrogate.space,
        surrogate.outputs,
        dict(surrogate.card),
    )
    x = SPACE.decode(np.random.default_rng(1).random((50, 3)))
    for question in ({}, {"coverage": 0.5, "of": "mean"}, {"joint": True}):
        a, b = surrogate.predict(x, **question), loaded.predict(x, **question)
        for name in a.mean:
            assert np.array_equal(a.mean[name], b.mean[name])
            assert np.array_equal(a.lower[name], b.lower[name]) and np.array_equal(a.upper[name], b.upper[name])
        assert np.array_equal(a.inside, b.inside)


def test_two_saves_are_the_same_bytes(surrogate, saved):
    """Nothing of time or place is in the file, and nothing is left beside it."""
    other = saved.with_name("t.safetensors")
    surrogate.save(other)
    assert saved.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in saved.parent.iterdir()) == ["s.safetensors", "t.safetensors"]


def test_every_flipped_byte_of_the_content_is_noticed(saved):
    """Bytes all over the arrays and the metadata, one at a time."""
    good = saved.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    inside = good.index(b"mlforhpc") + 20
    for place in [inside, header, *np.linspace(header + 1, len(good) - 1, 40).astype(int)]:
        saved.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises((StoreDamaged, UsageError)):
            gaussian_process.load(saved)


def test_a_changed_array_is_refused_with_a_sentence(saved):
    """A valid safetensors file with one number changed, hash kept."""
    with safe_open(saved, framework="numpy") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays["centre"] = arrays["centre"] + 1e-9
    save_file(arrays, saved, header)
    with pytest.raises(StoreDamaged, match="changed after it was saved"):
        gaussian_process.load(saved)


def test_a_torn_file_is_refused(saved):
    """Half a file."""
    saved.write_bytes(saved.read_bytes()[:500])
    with pytest.raises(StoreDamaged, match="not a complete safetensors file"):
        gaussian_process.load(saved)


def test_strangers_are_refused(tmp_path):
    """No file, no surrogate, another learner's, a newer schema: each has its sentence."""
    path = tmp_path / "s.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        gaussian_process.load(path)
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(UsageError, match="not a surrogate"):
        gaussian_process.load(path)
    write(path, {"schema_version": 1, "learner": "forest"}, {"a": np.ones(2)})
    with pytest.raises(UsageError, match="learner 'forest'"):
        gaussian_process.load(path)
    write(path, {"schema_version": 99, "learner": "gaussian_process"}, {"a": np.ones(2)})
    with pytest.raises(UsageError, match="schema version 99"):
        gaussian_process.load(path)


def test_the_version_follows_the_content(surrogate):
    """The short hash of metadata and arrays; order does not matter, a last digit does."""
    arrays = {"a": np.ones(2), "b": np.zeros(1)}
    assert content_hash({"x": 1}, arrays) == content_hash({"x": 1}, dict(reversed(arrays.items())))
    assert content_hash({"x": 1}, {**arrays, "a": np.array([1.0, 1.0 + 2e-16])}) != content_hash({"x": 1}, arrays)
    assert len(surrogate.version) == 12


def test_spaces_and_outputs_survive_json():
    """Every kind of parameter, every attribute of an output."""
    assert space_from_json(json.loads(json.dumps(space_to_json(SPACE)))) == SPACE
    output = Output(name="p", shape=(2, 3), unit="nm", scale="mean", scale_floor=0.1, derived=True)
    assert output_from_json(json.loads(json.dumps(output_to_json(output)))) == output
