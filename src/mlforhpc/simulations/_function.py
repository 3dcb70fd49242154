"""Any Python function as a Simulation: parameters in as keywords, numbers out.

    def area(width, height): return width * height
    simulation(area, space=Space(width=Real(1, 2), height=Real(1, 2)), outputs=[Output(name="area")])

The version is the author's, or a hash of the function's source file and of the files listed with it. It does not see
what the function imports, closes over, or calls outside Python: list those files, or state a version and raise it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlforhpc.core.errors import InvalidOutput, UsageError
from mlforhpc.core.simulation import Output, Outputs, checked
from mlforhpc.core.space import Space, Value

RESERVED = ("settings", "fidelity", "seed", "workdir")
"""What the function gets besides its parameters, each only if its signature names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSimulation:
    """See `mlforhpc.core.simulation.Simulation`; made by `simulation`."""

    name: str
    version: str
    space: Space
    outputs: tuple[Output, ...]
    function: Callable[..., Any]
    wanted: tuple[str, ...]
    settings: Space | None = None
    default_settings: Mapping[str, Value] = field(default_factory=dict)
    references: tuple[str, ...] = ()

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        """Call the function once; what it returns is checked against the declared outputs."""
        offered = {"settings": settings, "fidelity": fidelity, "seed": seed, "workdir": workdir}
        returned = self.function(**x, **{name: offered[name] for name in self.wanted})
        return checked(self, as_outputs(self.name, self.outputs, returned))


def simulation(
    function: Callable[..., Any],
    *,
    space: Space,
    outputs: str | Sequence[Output | str],
    name: str | None = None,
    version: str | None = None,
    files: Sequence[Path | str] = (),
    settings: Space | None = None,
    default_settings: Mapping[str, Value] | None = None,
    references: Sequence[str] = (),
) -> FunctionSimulation:
    """The simulation around a function.

    Args:
        function: gets each parameter as a keyword argument, and `settings`, `fidelity`, `seed`, `workdir` only if its
            signature names them. Returns a number or array (one output), a tuple (one value an output), a mapping
            from output name to value, or `Outputs` (with standard errors and checks).
        space: the parameters.
        outputs: what it returns, in order; a name alone is a dimensionless number, and one name alone the only one.
        name: of the simulation; the function's if left out.
        version: the author's; a hash of the function's source file and of `files` if left out.
        files: other files that decide the result.
        settings: space of how it computes; needs `default_settings`.
        default_settings: a safe point of `settings`.
        references: one-line references of model and solver.
    """
    _check_signature(function, space)
    if (settings is None) != (default_settings is None):
        raise UsageError("A simulation with `settings` needs `default_settings`, a safe point of that space, and the other way round.")
    if settings is not None and default_settings is not None:
        settings.row(default_settings)
    signature = inspect.signature(function).parameters
    return FunctionSimulation(
        name=name or str(getattr(function, "__name__", type(function).__name__)),
        version=version or source_hash(function, files),
        space=space,
        outputs=tuple(
            Output(name=output) if isinstance(output, str) else output for output in ([outputs] if isinstance(outputs, str) else outputs)
        ),
        function=function,
        wanted=tuple(word for word in RESERVED if word in signature),
        settings=settings,
        default_settings=dict(default_settings or {}),
        references=tuple(references),
    )


def source_hash(function: Callable[..., Any], files: Sequence[Path | str] = ()) -> str:
    """12 hex digits of the sha256 of the function's source file and of the listed files, in that order."""
    digest = hashlib.sha256()
    try:
        source = inspect.getsourcefile(function)
        text = Path(source).read_bytes() if source and Path(source).is_file() else inspect.getsource(function).encode()
    except (OSError, TypeError):
        raise UsageError(
            f"The source of {function!r} cannot be found, so its version is unknown; state one: simulation(..., version='1')."
        ) from None
    for content in (getattr(function, "__qualname__", "").encode(), text, *(Path(file).read_bytes() for file in files)):
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:12]


def as_outputs(name: str, declared: tuple[Output, ...], returned: object) -> Outputs:
    """Whatever a function returned, as Outputs; values are not checked here."""
    if isinstance(returned, Outputs):
        return returned
    if isinstance(returned, Mapping):
        return Outputs(values=returned)
    if len(declared) == 1:
        return Outputs(values={declared[0].name: returned})  # type: ignore[dict-item]  # becomes an array in `checked`
    if not isinstance(returned, tuple) or len(returned) != len(declared):
        found = f"{len(returned)} values" if isinstance(returned, tuple) else type(returned).__name__
        raise InvalidOutput(
            f"Simulation '{name}' must return a tuple of {len(declared)} values ({', '.join(o.name for o in declared)}), found {found}."
        )
    return Outputs(values={o.name: value for o, value in zip(declared, returned, strict=True)})


def _check_signature(function: Callable[..., Any], space: Space) -> None:
    taken = [name for name in space.names if name in RESERVED]
    if taken:
        raise UsageError(f"A parameter cannot be named '{taken[0]}': that is what a simulation gets besides its parameters.")
    signature = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in signature):
        return
    accepted = [p.name for p in signature if p.kind is not p.POSITIONAL_ONLY]
    missing = [name for name in space.names if name not in accepted]
    if missing:
        raise UsageError(
            f"The space has a parameter '{missing[0]}', which the function does not take by name; it takes {', '.join(accepted) or 'none'}."
        )
    needed = [p.name for p in signature if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    unmet = [name for name in needed if name not in (*space.names, *RESERVED)]
    if unmet:
        raise UsageError(f"The function needs an argument '{unmet[0]}'; the space has only {', '.join(space.names)}.")
