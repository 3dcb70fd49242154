"""An executable as a simulation: templates, readers, errors with the program's last words, nothing left running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from mlforhpc.core.errors import InvalidOutput, UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Integer, Real, Space
from mlforhpc.simulations._executable import ExecutableFailed, executable, filled
from mlforhpc.simulations._reading import Columns, Json, Pattern
from mlforhpc.testing.simulations import CHECKS

SPACE = Space(a=Real(0.0, 2.0), k=Integer(1, 3))
ONE = [Output(name="y")]


def shell(script, read=None, outputs=ONE, **more):
    """A shell script as a simulation."""
    return executable(
        ["/bin/sh", "run.sh", "{a}", "{k}"],
        space=SPACE,
        outputs=outputs,
        read=read or {"y": Pattern(r"y = (\S+)")},
        name="script",
        version="1",
        templates={"run.sh": textwrap.dedent(script)},
        **more,
    )


def run(sim, folder, a=1.5, k=2):
    """One run."""
    return sim.simulate({"a": a, "k": k}, settings=dict(sim.default_settings), fidelity=0.5, seed=4, workdir=folder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    """Conformance."""
    check(shell('echo "y = $1"'))


def test_templates_command_and_output(tmp_path):
    """An input file is filled in, the command runs in the folder, the output is read from a file that it wrote."""
    sim = executable(
        [sys.executable, "solve.py", "input.json"],
        space=SPACE,
        outputs=[Output(name="y"), Output(name="p", shape=(3,))],
        read={"y": Json("result.1.y", file="out.json"), "p": Columns("table.txt", column=1, skip=1)},
        name="solver",
        version="1",
        templates={
            "input.json": '{"a": {a}, "k": {k:03d}, "seed": "{seed}", "share": {fidelity}, "left": "{alone}"}'.replace("{k:03d}", "{k}"),
            "solve.py": """
import json, sys
d = json.load(open(sys.argv[1]))
json.dump({"result": [0, {"y": d["a"] * d["k"] + int(d["seed"]) + d["share"]}]}, open("out.json", "w"))
open("table.txt", "w").write("t value\\n# a comment\\n" + "".join(f"{i} {i * d['a']!r}\\n" for i in range(3)))
assert d["left"] == chr(123) + "alone" + chr(125)
""",
        },
    )
    found = run(sim, tmp_path)
    assert float(found.values["y"]) == 7.5 and found.values["p"].tolist() == [0.0, 1.5, 3.0]


def test_placeholders():
    """All digits of a float unless a format is given; names that nobody knows stay."""
    assert filled("{a} {a:.2f} {k} ${T} {} {{b}}", {"a": 1 / 3, "k": 2}) == f"{1 / 3!r} 0.33 2 ${{T}} {{}} {{{{b}}}}"


def test_a_function_may_read_the_folder(tmp_path):
    """A callable gets the folder and returns what a wrapped function may."""
    assert float(run(shell("echo 41 > n", read=lambda folder: 1.0 + float((folder / "n").read_text())), tmp_path).values["y"]) == 42.0


def test_an_error_shows_exit_code_and_last_words(tmp_path):
    """The last twenty lines of stderr are in the error."""
    with pytest.raises(ExecutableFailed, match=r"exit code 3(.|\n)*line 30") as failed:
        run(shell("for i in $(seq 30); do echo line $i >&2; done; exit 3"), tmp_path)
    assert "line 11" in str(failed.value) and "line 10\n" not in str(failed.value)


def test_a_crash_is_named_by_its_signal(tmp_path):
    """A segmentation fault is a failed run, and the worker lives on."""
    with pytest.raises(ExecutableFailed, match=f"by signal {signal.SIGSEGV:d}"):
        run(shell("kill -SEGV $$"), tmp_path)


def test_a_missing_program_is_named(tmp_path):
    """The program that could not start is in the sentence."""
    sim = executable(["no-such-solver", "{a}", "{k}"], space=SPACE, outputs=ONE, read={"y": Json()}, name="s", version="1")
    with pytest.raises(ExecutableFailed, match="could not start 'no-such-solver'"):
        run(sim, tmp_path)


def test_a_hang_ends_at_its_limit_with_all_its_children(tmp_path):
    """At the limit the program and what it started are killed at once."""
    begun = time.monotonic()
    with pytest.raises(ExecutableFailed, match=r"limit of 0\.5 s"):
        run(shell("sleep 60 & echo $! > child; sleep 60", limit_s=0.5), tmp_path)
    assert time.monotonic() - begun < 5.0
    assert_gone(int((tmp_path / "child").read_text()))


def test_a_run_that_ends_leaves_nothing_behind(tmp_path):
    """A background child of a program that ended well is ended too."""
    run(shell("sleep 60 & echo $! > child; echo y = 1"), tmp_path)
    assert_gone(int((tmp_path / "child").read_text()))


def test_the_program_dies_with_its_worker(tmp_path):
    """After kill -9 of the worker, its program is gone: the pipe to its guard closes."""
    code = f"""
from pathlib import Path
from mlforhpc.simulations._executable import run
run(["/bin/sh", "-c", "echo $$ > pid; sleep 60"], Path({str(tmp_path)!r}), None, "s")
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20.0
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    assert_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("script", "read", "sentence"),
    [
        ("echo y is 3", {"y": Pattern(r"y = (\S+)")}, "Nothing in 'stdout' matches"),
        ("echo y = three", {"y": Pattern(r"y = (\S+)")}, "'three' in 'stdout' is no number"),
        ("echo '{'", {"y": Json("y")}, "'stdout' is not JSON"),
        ("echo '{\"z\": 1}'", {"y": Json("y")}, "has no 'y'"),
        ("true", {"y": Columns("out.txt", 0)}, "left no file 'out.txt'"),
        ("echo 1 2", {"y": Columns("stdout", 5)}, "no column 5"),
        ("echo y = nan", {"y": Pattern(r"y = (\S+)")}, "finite"),
        ("echo y = 1; echo y = 2", {"y": Pattern(r"y = (\S+)")}, r"shape \(\), found \(2,\)"),
    ],
)
def test_bad_output_is_named(tmp_path, script, read, sentence):
    """What was wanted from which file, and what was found."""
    with pytest.raises(InvalidOutput, match=sentence):
        run(shell(script, read=read), tmp_path)


def test_the_last_of_many_matches(tmp_path):
    """`last` reads the final one of a log's lines."""
    read = {"y": Pattern(r"y = (\S+)", last=True)}
    assert float(run(shell("echo y = 1; echo y = 2", read=read), tmp_path).values["y"]) == 2.0


def test_settings_are_values_too(tmp_path):
    """A setting fills its placeholder."""
    steps = Space(step=Real(0.1, 1.0))
    sim = shell('echo "y = {step}"', settings=steps, default_settings={"step": 0.25})
    assert json.loads(json.dumps(float(run(sim, tmp_path).values["y"]))) == 0.25


@pytest.mark.parametrize(
    ("command", "more", "sentence"),
    [
        ([], {}, "needs a command"),
        (["solve", "{a}"], {}, "Parameter 'k' appears neither"),
        (["solve", "{a}", "{k}"], {"read": {"z": Json()}}, "must say how to read y"),
    ],
)
def test_a_misfit_is_refused_at_once(command, more, sentence):
    """Before anything runs."""
    with pytest.raises(UsageError, match=sentence):
        executable(command, **{"space": SPACE, "outputs": ONE, "read": {"y": Json()}, "name": "s", "version": "1", **more})


def assert_gone(pid):
    """The process ends within seconds."""
    deadline = time.monotonic() + 10.0
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)
