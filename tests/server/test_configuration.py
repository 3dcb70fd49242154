"""The configuration: what a file and the command line say, and a sentence for everything that is wrong in it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.space import Choice, Integer, Real
from mlforhpc.server.configuration import FIDELITY, configuration, is_loopback
from mlforhpc.server.service import Limits

WHOLE = """
host = "::1"
port = 9000
folder = "kept"
engine = "big"
disk_budget = "20 GB"

[terms]
tolerance = 0.2
audit = 0.1

[simulations.borehole]
builtin = "borehole"
tolerance = 0.05

[simulations.branin]

[simulations.beam]
function = "beam.py:beam"
fidelity = 0.5
[simulations.beam.parameters]
load = { low = 1.0, high = 2.0, unit = "N" }
layers = { kind = "integer", low = 1, high = 3 }
metal = { options = ["steel", "copper"] }
[simulations.beam.outputs]
deflection = { unit = "mm" }
profile = { shape = 4, scale = "mean" }

[simulations.disc]
executable = "disc.toml"
limit_s = 10

[limits]
rows = 50
client_rate_per_s = 5

[engines.big]
engine = "serial"
"""
DISC = """
name = "disc"
command = ["cat", "in.txt"]
[templates]
"in.txt" = "in.txt.in"
[parameters]
radius = { low = 1.0, high = 2.0 }
[outputs]
area = { pattern = 'area = (\\\\S+)' }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what WHOLE names."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "service.toml").write_text(WHOLE)
    (tmp_path / "disc.toml").write_text(DISC)
    (tmp_path / "in.txt.in").write_text("area = {radius}\n")
    (tmp_path / "beam.py").write_text("def beam(load, layers, metal):\n    return load * layers, [load] * 4\n")
    return tmp_path


def read(folder: Path, text: str = "", **rest):
    """The configuration of a text beside the files."""
    (folder / "other.toml").write_text(textwrap.dedent(text))
    return configuration(folder / "other.toml", environment={}, **rest)


def test_a_whole_file(folder):
    """Every kind of simulation, terms of all and of one, limits, an engine of its own; paths start where the file lies."""
    found = configuration(folder / "service.toml", environment={})
    assert list(found.served) == ["borehole", "branin", "beam", "disc"]
    terms = {name: served.terms for name, served in found.served.items()}
    assert (terms["borehole"].tolerance, terms["branin"].tolerance, terms["beam"].audit) == (0.05, 0.2, 0.1)
    assert terms["beam"].fidelity == 0.5 and terms["disc"].limit_s == 10.0
    beam = found.served["beam"].simulation
    assert list(beam.space.parameters.values()) == [Real(1.0, 2.0, unit="N"), Integer(1, 3), Choice(("steel", "copper"))]
    assert [(o.name, o.shape, o.unit, o.scale) for o in beam.outputs] == [("deflection", (), "mm", "rms"), ("profile", (4,), "1", "mean")]
    assert (found.host, found.port, found.folder, found.budget_bytes) == ("::1", 9000, folder / "kept", 20 * 10**9)
    assert found.engine.name == "serial" and (found.limits.rows, found.limits.client_rate_per_s) == (50, 5.0)


def test_no_file_at_all():
    """A name is enough: loopback, no token; the flagship's runs are those of its benchmark, and that is said."""
    found = configuration(simulations=["nanoconfinement"], environment={})
    assert (found.host, found.port, found.trust.token, found.certificate) == ("127.0.0.1", 8000, None, None)
    assert found.served["nanoconfinement"].terms.fidelity == FIDELITY["nanoconfinement"] == 0.012
    assert "fidelity 0.012" in found.notes[0] and found.limits == Limits()


def test_the_command_line_goes_over_the_file(folder):
    """Its tolerance holds for all simulations, its folder starts where the user is."""
    said = {"tolerance": 0.3, "fidelity": 0.25, "port": 0, "folder": Path("here"), "engine": "processes", "slots": 2, "host": None}
    found = configuration(folder / "service.toml", simulations=["piston"], said=said, environment={})
    assert {served.terms.tolerance for served in found.served.values()} == {0.3}
    assert {served.terms.fidelity for served in found.served.values()} == {0.25}
    assert (found.port, found.folder, found.engine.name, found.engine.slots) == (0, Path("here"), "processes", 2)
    assert found.host == "::1" and list(found.served)[-1] == "piston"


def test_simulations_do_not_wait_for_a_fit_unless_it_is_said_so(monkeypatch):
    """By default there are two slots at least, on one core too; one is taken with a sentence."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    found = configuration(simulations=["borehole"])
    assert found.engine.slots == 2 and not found.notes
    (note,) = configuration(simulations=["borehole"], said={"slots": 1}).notes
    assert "wait while a surrogate is fitted" in note


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Nothing to serve was named"),
        ("prot = 80", "Did you mean 'port'?"),
        ("port = '80'", "wanted a whole number, found '80'"),
        ("port = 99999", "a number from 0 to 65535"),
        ("disk_budget = 'much'", 'a size such as "20 GB"'),
        ("disk_budget = '20 gigs'", 'a size such as "20 GB"'),
        ("[terms]\ntolerence = 1", "Did you mean 'tolerance'?"),
        ("[limits]\nbody = 1", "there is no such key"),
        ("[limits]\nrows = 0", "a number above 0"),
        ("[simulations.borehol]", "Did you mean 'borehole'?"),
        ("[simulations.borehole]\nbuiltin = 'piston'", "call it [simulations.piston]"),
        ("[simulations.borehole]\nbuiltin = 'borehole'\nfunction = 'a.py:b'", "found builtin and function"),
        ("[simulations.borehole]\ntolerance = -1", "Simulation 'borehole': tolerance must be"),
        ("[simulations.borehole]\nqueue = 0", "queue must be"),
        ("[simulations.borehole]\nlaw = 'mine'", "law must be"),
        ("[simulations.borehole]\nspeed = 1", "there is no such key"),
        ("[simulations.borehole.settings]\ndt = 1", "has no settings, found dt"),
        ("[simulations.beam]\nfunction = 'beam.py:beam'", "whose parameters and outputs were not said"),
        ("[simulations.beam]\nfunction = 'nothing.py:beam'", "There is no file"),
        ("[simulations.disc]\nexecutable = 'nothing.toml'", "cannot be opened"),
        ("[simulations]\nborehole = 1", "wanted a table"),
        ("simulations = 1", "wanted a table"),
        ("this is no toml", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said(folder, text, sentence):
    """The key, what was wanted, what was found, the way out."""
    served = "" if "simulations" in text or text == "" else "[simulations.borehole]\n"
    with pytest.raises(UsageError) as error:
        read(folder, f"{text}\n{served}")
    assert sentence in str(error.value), error.value


def test_a_simulation_is_named_once(folder):
    """In the file and on the command line."""
    with pytest.raises(UsageError, match="'borehole' was named twice"):
        read(folder, "[simulations.borehole]", simulations=["borehole"])


def test_off_loopback_a_token_is_wanted(tmp_path):
    """From a file or the environment; then rates are limited, and that it travels openly is said."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(UsageError, match="wants a token"):
            configuration(simulations=["branin"], said={"host": host}, environment={})
    (tmp_path / "token").write_text("0123456789abcdef\n")
    for said, environment in (({"token_file": tmp_path / "token"}, {}), ({}, {"MLFORHPC_TOKEN": "0123456789abcdef"})):
        found = configuration(simulations=["branin"], said={"host": "0.0.0.0", **said}, environment=environment)
        assert found.trust.token == b"0123456789abcdef" and not found.trust.hosts
        assert found.limits.client_rate_per_s > 0 and "go over the network as they are" in found.notes[-1]


@pytest.mark.parametrize("token", ["", "short", "with a space in it all", "line\nand another line"])
def test_a_token_is_long_and_one_word(tmp_path, token):
    """So that nobody guesses it, and a header can hold it."""
    (tmp_path / "token").write_text(token)
    with pytest.raises(UsageError, match="at least 16 printable characters"):
        configuration(simulations=["branin"], said={"token_file": tmp_path / "token"}, environment={})


def test_tls_takes_two_files(tmp_path):
    """One alone, or one that is not there, is refused."""
    (tmp_path / "here").write_text("")
    for said in ({"certificate": tmp_path / "here"}, {"certificate": tmp_path / "here", "key": tmp_path / "nothing"}):
        with pytest.raises(UsageError, match=r"TLS needs two files|There is no file"):
            configuration(simulations=["branin"], said=said, environment={})


def test_what_is_loopback():
    """Names and addresses of this machine alone."""
    assert all(map(is_loopback, ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example.org"]))
