"""A simulation from a TOML file: what it says, what it computes, and a sentence for everything that is wrong in it."""

from __future__ import annotations

import textwrap

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.simulations._reading import Columns, Json, Pattern
from mlforhpc.simulations._toml import load
from mlforhpc.testing.simulations import CHECKS

SOLVER = """
read width metal layers < "$1"
awk -v w="$width" -v n="$layers" 'BEGIN {
  print "area =", w * w * n
  print "{\\"results\\": {\\"energy\\": " w + n "}}" > "out.json"
  print "# x y" > "out.txt"
  for (i = 0; i < 4; i++) print i, i * w >> "out.txt"
}'
"""
WHOLE = r"""
name = "plate"
version = "3"
command = ["sh", "solve.sh", "input.txt"]
limit_s = 20
references = ["A. Author, A plate, 2020"]

[templates]
"input.txt" = "input.txt.in"

[parameters]
width = { low = 1, high = 2.5, unit = "m", log = true }
metal = { options = ["steel", "copper"] }
layers = { kind = "integer", low = 1, high = 5 }

[outputs]
area = { pattern = 'area = (\S+)', unit = "m2", scale = 2.0 }
energy = { json = "results.energy", file = "out.json", scale = "mean", scale_floor = 0.1 }
profile = { column = 1, file = "out.txt", skip = 1, shape = 4, derived = true }
"""


def write(folder, text):
    """The TOML file, its template and its script in a folder."""
    (folder / "plate.toml").write_text(textwrap.dedent(text))
    (folder / "input.txt.in").write_text("{width} {metal} {layers}\n")
    (folder / "solve.sh").write_text(SOLVER)
    return folder / "plate.toml"


def test_it_says_all_that_executable_takes(tmp_path):
    """Space, outputs, readers, limit, references; a word that names a file beside the TOML stands for that file, a template does not."""
    (tmp_path / "input.txt").write_text("not this one")
    sim = load(write(tmp_path, WHOLE))
    assert (sim.name, sim.version, sim.limit_s, sim.references) == ("plate", "3", 20.0, ("A. Author, A plate, 2020",))
    assert sim.space == Space(width=Real(1, 2.5, log=True, unit="m"), metal=Choice(("steel", "copper")), layers=Integer(1, 5))
    assert sim.outputs == (
        Output(name="area", unit="m2", scale=2.0),
        Output(name="energy", scale="mean", scale_floor=0.1),
        Output(name="profile", shape=(4,), derived=True),
    )
    assert sim.read == {
        "area": Pattern(r"area = (\S+)"),
        "energy": Json("results.energy", file="out.json"),
        "profile": Columns("out.txt", 1, skip=1),
    }
    assert sim.command == ("sh", str((tmp_path / "solve.sh").resolve()), "input.txt")
    assert dict(sim.templates) == {"input.txt": "{width} {metal} {layers}\n"}


def test_it_runs(tmp_path):
    """Numbers worked by hand: 2 x 2 x 3, 2 + 3, and 0, 2, 4, 6."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    sim = load(write(tmp_path, WHOLE))
    found = sim.simulate({"width": 2.0, "metal": "steel", "layers": 3}, settings={}, fidelity=1.0, seed=0, workdir=workdir)
    assert float(found.values["area"]) == 12.0 and float(found.values["energy"]) == 5.0
    assert found.values["profile"].tolist() == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check, tmp_path):
    """Conformance."""
    check(load(write(tmp_path, WHOLE)))


def test_without_a_version_every_file_that_decides_is_in_the_hash(tmp_path):
    """The TOML file, the template and the script; a file that it does not name changes nothing."""
    versions = [load(write(tmp_path, WHOLE.replace('version = "3"\n', ""))).version]
    (tmp_path / "notes.txt").write_text("anything")
    assert load(tmp_path / "plate.toml").version == versions[0] and len(versions[0]) == 12
    for file in ("plate.toml", "input.txt.in", "solve.sh"):
        (tmp_path / file).write_text((tmp_path / file).read_text() + "\n")
        versions.append(load(tmp_path / "plate.toml").version)
    assert len(set(versions)) == 4


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('name = "plate"\n', "", r"key 'name': wanted text, and the key is not there"),
        ('name = "plate"', "name = 3", r"key 'name': wanted text, found 3"),
        ("limit_s = 20", 'limit_s = "long"', r"key 'limit_s': wanted a number, found 'long'"),
        ("limit_s = 20", "limit = 20", r"key 'limit': there is no such key; here are .*Did you mean 'limit_s'\?"),
        ("limit_s = 20", "limit_s = = 20", r"is not TOML: .*line 5"),
        ('["sh", "solve.sh", "input.txt"]', '"sh solve.sh"', r"key 'command': wanted a list, found 'sh solve.sh'"),
        ('["sh", "solve.sh", "input.txt"]', '["sh", 3]', r"key 'command': wanted a list of texts"),
        ('["sh", "solve.sh", "input.txt"]', "[]", r"plate\.toml.*needs a command"),
        ('"input.txt.in"', '"nowhere.in"', r"key 'templates.input.txt': wanted a template file, found no 'nowhere.in' beside it"),
        ("high = 2.5", "high = 0.5", r"key 'parameters.width': Real needs finite bounds with low < high"),
        ("high = 2.5, ", "", r"key 'parameters.width.high': wanted a number, and the key is not there"),
        ("high = 2.5", "hihg = 2.5", r"key 'parameters.width.hihg': there is no such key.*Did you mean 'high'\?"),
        ('kind = "integer"', 'kind = "int"', r"key 'parameters.layers.kind': wanted real, integer or choice, found 'int'"),
        ("low = 1, high = 5", "low = 1.5, high = 5", r"key 'parameters.layers.low': wanted a whole number, found 1.5"),
        ("log = true", "log = 1", r"key 'parameters.width.log': wanted true or false, found 1"),
        (', file = "out.json"', ', pattern = "x"', r"key 'outputs.energy': how it is read .* found pattern and json"),
        ('json = "results.energy", ', "", r"key 'outputs.energy': how it is read .* found none"),
        ("skip = 1", "last = true", r"key 'outputs.profile.last': there is no such key"),
        ("shape = 4", "shape = 0", r"key 'outputs.profile.shape': wanted a length such as 64.*found 0"),
        ("scale = 2.0", "scale = -1", r"key 'outputs.area.scale': wanted \"rms\", \"mean\" or a number above 0, found -1"),
        ("layers = {", "unused = {", r"plate\.toml.*Parameter 'unused' appears neither in a template nor in the command"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, before, after, sentence):
    """File, key, what was wanted, what was found."""
    assert before in WHOLE
    with pytest.raises(UsageError, match=sentence):
        load(write(tmp_path, WHOLE.replace(before, after)))


def test_no_file_is_a_sentence(tmp_path):
    """A path that leads nowhere."""
    with pytest.raises(UsageError, match=r"a\.toml.*cannot be opened"):
        load(tmp_path / "a.toml")
