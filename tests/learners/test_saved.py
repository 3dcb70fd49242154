"""Surrogates on disk: bit for bit the same in any process, as docs/surrogate-format.md says, refused after tampering."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import mlforhpc
from mlforhpc.core.errors import StoreDamaged, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.learners._saved import SCHEMA_VERSION, content_hash, output_from_json, output_to_json, space_from_json, space_to_json, write

PAGE = Path(__file__).parents[2] / "docs" / "surrogate-format.md"
SPACE = Space(a=Real(0.1, 10.0, log=True, unit="nm"), k=Integer(1, 3), c=Choice(("x", "y")))


@pytest.fixture(scope="module")
def surrogate():
    """A small surrogate of a number, and of a profile that states its errors."""
    x = SPACE.decode(np.random.default_rng(0).random((20, 3)))
    y = {"n": np.log(x[:, 0]) * x[:, 1], "p": np.log(x[:, :1]) * np.arange(1.0, 4.0) + x[:, 2:]}
    outputs = (Output(name="n"), Output(name="p", shape=(3,), unit="nm", scale=2.0))
    ones = np.ones(20)
    data = Dataset(
        space=SPACE, outputs=outputs, x=x, y=y, y_se={"p": np.full((20, 3), 0.01)}, outcome=("ok",) * 20, fidelity=ones, cost_s=ones
    )
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
    """Nothing of time or place is in the file, and nothing is left beside it; a loaded surrogate is saved as it was."""
    other = saved.with_name("t.safetensors")
    surrogate.save(other)
    assert saved.read_bytes() == other.read_bytes()
    gaussian_process.load(saved).save(other)
    assert saved.read_bytes() == other.read_bytes()
    assert sorted(p.name for p in saved.parent.iterdir()) == ["s.safetensors", "t.safetensors"]


OUTSIDE = """
import sys
import numpy as np
import mlforhpc as ml
surrogate, x = ml.load(sys.argv[1]), np.load(sys.argv[2])
answers = [surrogate.predict(x), surrogate.predict(x, of="mean", joint=True), surrogate.predict(x[:1])]
parts = [part[name] for p in answers for part in (p.mean, p.lower, p.upper) for name in part]
np.savez(sys.argv[3], *parts, *surrogate.gradient(x).values())
print(surrogate.version, np.__version__)
"""
"""What another process does: three questions and the gradient, as arrays in order."""


def answers_of(python, saved):
    """Another interpreter's answers, and its words; skips if it lacks a package that this one has."""
    folder = saved.parent
    np.save(folder / "x.npy", SPACE.decode(np.random.default_rng(1).random((50, 3))))
    environment = {**os.environ, "PYTHONPATH": str(Path(mlforhpc.__file__).parents[1])}
    command = [python, "-c", OUTSIDE, str(saved), str(folder / "x.npy"), str(folder / "answers.npz")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    lacking = re.search(r"ModuleNotFoundError: (No module named '(?!mlforhpc).*')", done.stderr)
    if lacking and python != sys.executable:
        pytest.skip(f"{Path(python).name}: {lacking[1]}")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "answers.npz") as found:
        return list(found.values()), done.stdout.split()


def own_answers(surrogate):
    """The same questions in this process."""
    x = SPACE.decode(np.random.default_rng(1).random((50, 3)))
    answers = [surrogate.predict(x), surrogate.predict(x, of="mean", joint=True), surrogate.predict(x[:1])]
    return [part[name] for p in answers for part in (p.mean, p.lower, p.upper) for name in part] + list(surrogate.gradient(x).values())


def test_another_process_answers_bit_for_bit_the_same(surrogate, saved):
    """All parts of predictions and gradients, and the version."""
    found, words = answers_of(sys.executable, saved)
    assert words[0] == surrogate.version
    for one, other in zip(found, own_answers(surrogate), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("version", [f"3.{minor}" for minor in (11, 12, 13, 14) if minor != sys.version_info.minor])
def test_another_python_answers_the_same(surrogate, saved, version):
    """Bit for bit with the same NumPy, to rounding with another."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python{version}"))
    python = next((str(p) for p in (shutil.which(f"python{version}"), *pyenv) if p and works(p)), None)
    if python is None:
        pytest.skip(f"no python{version} here")
    found, words = answers_of(python, saved)
    assert words[0] == surrogate.version
    for one, other in zip(found, own_answers(surrogate), strict=True):
        if words[1] == np.__version__:
            assert np.array_equal(one, other, equal_nan=True)
        else:
            assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)


def works(python):
    """Whether an interpreter starts: a name on the path may be no more than a name."""
    return subprocess.run([python, "-c", ""], capture_output=True, timeout=60).returncode == 0


def table(title):
    """The rows of the page's table under a heading, names without backticks."""
    lines = PAGE.read_text(encoding="utf-8").split(f"## {title}")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [[row[0].strip("`"), *row[1:]] for row in rows]


def parts_of(path):
    """A file without mlforhpc or safetensors: its text, and its arrays."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    content = json.loads(header.pop("__metadata__")["mlforhpc"])
    assert all(entry["dtype"] == "F64" for entry in header.values())
    places = {name: slice(*(end + offset for offset in entry["data_offsets"])) for name, entry in header.items()}
    return content, {name: np.frombuffer(data[place], "<f8").reshape(header[name]["shape"]) for name, place in places.items()}


def test_the_page_lists_every_array_with_its_shape(saved):
    """Names in order, and shapes with one number for each letter."""
    _, arrays = parts_of(saved)
    rows = table("The arrays of `gaussian_process`")
    assert sorted(row[0] for row in rows) == sorted(arrays)
    numbers = {"d": 3, "o": 2, "m": 4, "l": 2001, "r": 20}
    for name, shape, _ in rows:
        letters = [letter.strip() for letter in shape.strip("()").split(",") if letter.strip()]
        assert len(letters) == arrays[name].ndim, name
        for letter, size in zip(letters, arrays[name].shape, strict=True):
            assert eval(letter, {}, {letter: size} | numbers) == size, (name, letter)
            numbers.setdefault(letter, size)
    assert {letter: numbers[letter] for letter in "npf"} == {"n": 20, "p": 3, "f": 10} and numbers["k"] >= 2


def test_the_page_lists_every_field_of_the_text(surrogate, saved):
    """Metadata, and what is said of parameters and outputs; the version in the page is the one that is written."""
    content, _ = parts_of(saved)
    rows = {row[0]: row[1] for row in table("The text")}
    assert sorted(rows) == sorted(content["metadata"]) and sorted(content) == ["metadata", "sha256"]
    assert rows["schema_version"].startswith(f"{SCHEMA_VERSION};") and content["metadata"]["schema_version"] == SCHEMA_VERSION
    for field in ("space", "outputs"):
        named = set(re.findall(r"`(\w+)`", rows[field])) - {"real", "integer", "choice"}
        assert named == set().union(*content["metadata"][field])
    assert content["metadata"]["card"] == dict(surrogate.card)


def test_the_page_says_how_the_hash_is_made(surrogate, saved):
    """Metadata as sorted JSON, then name, shape and bytes of each array."""
    content, arrays = parts_of(saved)
    digest = hashlib.sha256(json.dumps(content["metadata"], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"\n{name}{arrays[name].shape}\n".encode() + arrays[name].tobytes())
    assert digest.hexdigest() == content["sha256"] and content["sha256"][:12] == surrogate.version


def test_the_page_s_formulas_answer_as_the_surrogate_does(surrogate, saved):
    """Mean and interval for a run from the arrays alone."""
    _, a = parts_of(saved)
    x = SPACE.decode(np.random.default_rng(1).random((20, 3)))
    mean, half = [], []
    for w in 2.0 * SPACE.encode(x) - 1.0:
        powers = np.array([w, np.ones(3), w * w]).T[None, :, :, None]  # (1, d, 3, 1)
        c = np.prod(1.0 - a["shares"][:, :, None] + np.exp(a["inputs"] @ powers)[..., 0], axis=1)
        h, e = np.concatenate([[1.0], w[a["ordered"] > 0]]), np.exp(a["growth"] @ w)
        n = c.shape[1]
        means = a["trend"] @ h + e * np.sum(a["weights"] * c, axis=1)
        white = np.einsum("kij,kj->ki", a["whiten"], c) * e[:, None]
        variances = a["variance"] * e**2 - np.sum(white[:, :n] ** 2, axis=1) + np.sum((white[:, n:] + a["trend_whiten"] @ h) ** 2, axis=1)
        mean.append((a["centre"] + means @ a["vectors"]) * a["scale"])
        products = [w[i] * w[j] for i in range(3) for j in range(i, 3)]
        noise = a["unstated"] + np.exp(np.array([1.0, *w, *products]) @ a["noise"]) / a["fidelity"]
        half.append(np.sqrt(a["rest"] + a["misfit"] + variances @ a["squares"] + noise) * a["scale"])
    p = surrogate.predict(x, joint=True)
    assert np.column_stack([p.mean["n"], p.mean["p"]]) == pytest.approx(np.array(mean), abs=1e-6)
    rank = int(np.ceil(21 * 0.9)) - 1
    factors = a["foreseen_joint"][[0, 1, 1, 1], rank]
    assert np.column_stack([p.upper["n"], p.upper["p"]]) == pytest.approx(np.array(mean) + factors * half, abs=1e-5)


def test_no_pickle_is_read(saved, monkeypatch):
    """Loading works where every way into pickle is closed."""

    def closed(*_, **__):
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"):
        monkeypatch.setattr(pickle, name, closed)
    assert gaussian_process.load(saved).predict(np.array([[1.0, 2.0, 0.0]])).mean["p"].shape == (1, 3)


def test_every_flipped_byte_is_noticed(saved):
    """One bit at a time: of every eighth byte of length, header and text, and of 60 bytes all over the arrays."""
    good = saved.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    places = [*range(0, header, 8), *np.linspace(header, len(good) - 1, 60).astype(int)]
    for i, place in enumerate(places):
        saved.write_bytes(good[:place] + bytes([good[place] ^ 1 << i % 8]) + good[place + 1 :])
        with pytest.raises((StoreDamaged, UsageError)):
            gaussian_process.load(saved)
    saved.write_bytes(good)
    gaussian_process.load(saved)


def test_another_way_to_write_the_same_number_is_noticed(saved):
    """The text is compared as it stands, not only what it means."""
    with safe_open(saved, framework="numpy") as file:
        header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert '"runs": 20.0' in header["mlforhpc"]
    save_file(arrays, saved, {"mlforhpc": header["mlforhpc"].replace('"runs": 20.0', '"runs": 2e1')})
    with pytest.raises(StoreDamaged, match="changed after it was saved"):
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
    """No file, no surrogate, another learner's, a newer schema, an older one: each has its sentence."""
    path = tmp_path / "s.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        gaussian_process.load(path)
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(UsageError, match="not a surrogate"):
        gaussian_process.load(path)
    write(path, {"schema_version": SCHEMA_VERSION, "learner": "forest"}, {"a": np.ones(2)})
    with pytest.raises(UsageError, match="learner 'forest'"):
        gaussian_process.load(path)
    write(path, {"schema_version": 99, "learner": "gaussian_process"}, {"a": np.ones(2)})
    with pytest.raises(UsageError, match=f"schema version 99, and this mlforhpc reads {SCHEMA_VERSION}; update mlforhpc"):
        gaussian_process.load(path)
    write(path, {"schema_version": 1, "learner": "gaussian_process"}, {"a": np.ones(2)})
    with pytest.raises(UsageError, match=f"schema version 1, and this mlforhpc reads {SCHEMA_VERSION}; fit and save it again"):
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
