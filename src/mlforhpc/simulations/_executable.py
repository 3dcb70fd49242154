"""Any executable as a Simulation: input templates, a command, what to read from its output, a time limit.

    executable(["./solve", "input.txt"], templates={"input.txt": "width = {width}"}, read={"area": Pattern(r"area = (\\S+)")},
               space=..., outputs=..., name="area", version="1", limit_s=60)

It runs in the run's own folder. {parameter} stands for a value in templates and command; so do settings, {seed} and
{fidelity}. Other braces stay as they are. However a run ends, and even if its worker is killed, no process of it stays.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output, Outputs, checked
from mlforhpc.core.space import Space, Value
from mlforhpc.simulations._function import RESERVED, as_outputs
from mlforhpc.simulations._reading import Columns, Json, Pattern

PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
TAIL_LINES = 20
"""Of stderr, in the error of a failed run."""
GUARD = "read line; kill -KILL 0"
"""Leads the run's process group and ends it when its standard input closes: at the end of the run, or with the worker."""

Reader: TypeAlias = Pattern | Json | Columns


class ExecutableFailed(RuntimeError):
    """The command could not start, ended with an error, or met its time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutableSimulation:
    """See `mlforhpc.core.simulation.Simulation`; made by `executable`."""

    name: str
    version: str
    space: Space
    outputs: tuple[Output, ...]
    command: tuple[str, ...]
    templates: Mapping[str, str]
    read: Mapping[str, Reader] | Callable[[Path], Any]
    limit_s: float | None
    settings: Space | None = None
    default_settings: Mapping[str, Value] = field(default_factory=dict)
    references: tuple[str, ...] = ()

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        """Write the templates, run the command in `workdir`, read the outputs."""
        values: dict[str, Value] = {**x, **settings, "seed": seed, "fidelity": fidelity}
        for file, template in self.templates.items():
            target = workdir / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(filled(template, values))
        run([filled(word, values) for word in self.command], workdir, self.limit_s, self.name)
        if callable(self.read):
            return checked(self, as_outputs(self.name, self.outputs, self.read(workdir)))
        return checked(self, Outputs(values={name: reader.read(workdir) for name, reader in self.read.items()}))


def executable(
    command: Sequence[str],
    *,
    space: Space,
    outputs: Sequence[Output],
    read: Mapping[str, Reader] | Callable[[Path], Any],
    name: str,
    version: str,
    templates: Mapping[str, str | Path] | None = None,
    limit_s: float | None = None,
    settings: Space | None = None,
    default_settings: Mapping[str, Value] | None = None,
    references: Sequence[str] = (),
) -> ExecutableSimulation:
    """The simulation around a command.

    Args:
        command: program and arguments; a program that is no path is searched on PATH.
        space: the parameters; each must appear in a template or in the command.
        outputs: what it returns, in order.
        read: output name -> `Pattern`, `Json` or `Columns`, or a function of the run's folder that returns what a
            wrapped function may. Standard output and error are files there: "stdout" and "stderr".
        name, version: of the simulation; raise the version when the program changes.
        templates: file name in the run's folder -> template text, or the path of a template file.
        limit_s: seconds after which a run is killed and failed.
        settings, default_settings: how it computes, and a safe point of that.
        references: one-line references of model and solver.
    """
    texts = {file: text.read_text() if isinstance(text, Path) else text for file, text in (templates or {}).items()}
    if (settings is None) != (default_settings is None):
        raise UsageError("A simulation with `settings` needs `default_settings`, a safe point of that space, and the other way round.")
    if settings is not None and default_settings is not None:
        settings.row(default_settings)
    _check(command, texts, space, settings)
    if not callable(read) and set(read) != {o.name for o in outputs}:
        raise UsageError(f"`read` must say how to read {', '.join(o.name for o in outputs)}; found {', '.join(read) or 'nothing'}.")
    return ExecutableSimulation(
        name=name,
        version=version,
        space=space,
        outputs=tuple(outputs),
        command=tuple(command),
        templates=texts,
        read=read if callable(read) else dict(read),
        limit_s=limit_s,
        settings=settings,
        default_settings=dict(default_settings or {}),
        references=tuple(references),
    )


def filled(template: str, values: Mapping[str, Value]) -> str:
    """The template with {name} and {name:format} replaced where `values` has the name; floats with all their digits."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        found = values[match[1]]
        return format(found, match[2]) if match[2] else str(found)

    return PLACEHOLDER.sub(value, template)


def run(command: Sequence[str], workdir: Path, limit_s: float | None, name: str, *, environment: Mapping[str, str] | None = None) -> None:
    """Run in `workdir` to its end, with this process's environment or another; raises ExecutableFailed with the tail of stderr."""
    with _group() as group, (workdir / "stdout").open("wb") as out, (workdir / "stderr").open("wb") as err:
        try:
            process = subprocess.Popen(
                command, cwd=workdir, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=group, env=environment
            )
        except OSError as error:
            raise ExecutableFailed(f"Simulation '{name}' could not start '{command[0]}': {error.strerror}.") from None
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ExecutableFailed(f"Simulation '{name}' was killed after its limit of {limit_s:g} s.{_tail(workdir)}") from None
    if code != 0:
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        raise ExecutableFailed(f"Simulation '{name}' ended {how}: {' '.join(command)}.{_tail(workdir)}")


@contextmanager
def _group() -> Iterator[int]:
    """A process group that ends, with all that is in it, when the context does or this process dies."""
    guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0)
    try:
        yield guard.pid
    finally:
        if guard.stdin:
            guard.stdin.close()
        guard.wait()


def _tail(workdir: Path) -> str:
    lines = (workdir / "stderr").read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return " Its last words:\n" + "\n".join(lines) if lines else " It wrote nothing to stderr."


def _check(command: Sequence[str], templates: Mapping[str, str], space: Space, settings: Space | None) -> None:
    if not command:
        raise UsageError("An executable needs a command: a program and its arguments.")
    taken = [name for name in space.names if name in RESERVED]
    if taken:
        raise UsageError(f"A parameter cannot be named '{taken[0]}': that is what a simulation gets besides its parameters.")
    used = {match[1] for text in (*templates.values(), *command) for match in PLACEHOLDER.finditer(text)}
    unused = [name for name in (*space.names, *(settings.names if settings else ())) if name not in used]
    if unused:
        raise UsageError(f"Parameter '{unused[0]}' appears neither in a template nor in the command; write it as {{{unused[0]}}}.")
