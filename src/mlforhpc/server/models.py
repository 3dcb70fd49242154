"""A served simulation as a model of the Open Inference Protocol v2: tensors in, tensors out, and what it has answered.

In: one tensor a parameter, shape [n, 1]. Out: each output array [n, *shape], the ends of its interval as NAME.lower and NAME.upper, and of
each row its lineage: source, rho, version, key, kept. The model's versions are the surrogate's, named by their content.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mlforhpc.core.errors import UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.core.output_columns import Places, placed
from mlforhpc.core.simulation import Simulation
from mlforhpc.server.refusals import Refused
from mlforhpc.server.tensors import Wanted, brief, wanted

if TYPE_CHECKING:
    from mlforhpc.scenarios.online import Online

PLATFORM = "mlforhpc"
Kind: TypeAlias = Literal["mean", "lower", "upper", "source", "rho", "version", "key", "kept"]
LINEAGE: dict[str, tuple[Kind, str]] = {
    "source": ("source", "BYTES"),
    "rho": ("rho", "FP64"),
    "version": ("version", "BYTES"),
    "key": ("key", "BYTES"),
    "kept": ("kept", "BOOL"),
}
BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0)
"""Upper ends of the latency classes that `Stats.latencies` counts; the last class has none."""


@dataclass(frozen=True, slots=True)
class Part:
    """An output tensor.

    Attributes:
        kind: what of an answer it holds.
        output: whose, for mean, lower and upper.
        datatype, shape: of one row.
        numbers: elements of one row.
        begin: the first of the columns that hold them, of mean, lower and upper.
    """

    name: str
    kind: Kind
    output: str
    datatype: str
    shape: tuple[int, ...]
    numbers: int
    begin: int = 0


class Sheet:
    """The output tensors of an answer of one row as JSON says them, still without data.

    Attributes:
        parts: each, whether it is to be in binary, and what is said of it.
        outputs: what is said, of all.
    """

    __slots__ = ("outputs", "parts")

    def __init__(self, parts: Iterable[tuple[Part, bool]]) -> None:
        self.parts: list[tuple[Part, bool, dict[str, Any]]] = [
            (part, binary, {"name": part.name, "datatype": part.datatype, "shape": (1, *part.shape)}) for part, binary in parts
        ]
        self.outputs = [said for _, _, said in self.parts]


@dataclass(slots=True)
class Stats:
    """What a model has answered since the server started; changed on the event loop alone.

    Attributes:
        inferences: rows.
        executions: requests that were answered 200.
        success_ns, failures, failure_ns: of those, and of the others.
        last_unix_ms: when the last one was answered.
        latencies: requests answered 200 by class of latency; see BOUNDS_S. First those that needed no simulation, then those that did.
    """

    inferences: int = 0
    executions: int = 0
    success_ns: int = 0
    failures: int = 0
    failure_ns: int = 0
    last_unix_ms: int = 0
    latencies: tuple[list[int], list[int]] = field(default_factory=lambda: ([0] * (len(BOUNDS_S) + 1), [0] * (len(BOUNDS_S) + 1)))
    latency_sums_ns: list[int] = field(default_factory=lambda: [0, 0])

    def answered(self, rows: int, took_ns: int, unix_ms: int, *, simulated: bool) -> None:
        """Count an answer."""
        self.inferences += rows
        self.executions += 1
        self.success_ns += took_ns
        self.last_unix_ms = unix_ms
        self.latencies[simulated][bisect.bisect_left(BOUNDS_S, took_ns / 1e9)] += 1
        self.latency_sums_ns[simulated] += took_ns

    def refused(self, took_ns: int) -> None:
        """Count a refusal."""
        self.failures += 1
        self.failure_ns += took_ns


class Model:
    """See the file's docstring.

    Attributes:
        name: of the simulation.
        online: what answers.
        inputs: parameter -> its tensor.
        outputs: name -> tensor, all there are.
        default: those that are sent if none are named.
        numbers: elements of a row of them.
        sheet: of those, in JSON; filled in for every such answer, since to make one takes as long. For the event loop alone.
        places: of the output arrays' columns.
        stats: what was answered.
    """

    def __init__(self, online: Online) -> None:
        simulation = online.simulation
        self.name = simulation.name
        self.online = online
        self.inputs: dict[str, Wanted] = wanted(simulation.space)
        self.outputs: dict[str, Part] = _parts(simulation)
        self.default = [part for part in self.outputs.values() if part.kind != "kept"]
        self.numbers = sum(part.numbers for part in self.default)
        self.sheet = Sheet((part, False) for part in self.default)
        self.places: Places = placed(simulation.outputs)
        self.stats = Stats()

    @property
    def version(self) -> str:
        """Of the surrogate that answers now; empty while there is none."""
        surrogate = self.online.surrogate
        return surrogate.version if surrogate is not None else ""

    def check_version(self, asked: str) -> None:
        """Refuse a version that does not answer now.

        Raises:
            Refused: 404.
        """
        now = self.version
        if asked != now:
            here = f"version {now} answers now" if now else "there is no surrogate yet, and the simulation answers"
            raise Refused(404, f"Model '{self.name}' has no version {brief(asked)}: {here}. Leave the version out to ask whatever answers.")

    def part(self, name: str) -> Part:
        """An output by its name.

        Raises:
            UsageError: there is none.
        """
        part = self.outputs.get(name)
        if part is None:
            near = suggestion(name[:100], self.outputs)
            raise UsageError(f"Unknown output {brief(name)}; this model gives {', '.join(self.outputs)}.{near}")
        return part


def _parts(simulation: Simulation) -> dict[str, Part]:
    kinds: tuple[tuple[Kind, str], ...] = (("mean", ""), ("lower", ".lower"), ("upper", ".upper"))
    parts = [
        Part(f"{name}{suffix}", kind, name, "FP64", place.shape, place.end - place.begin, place.begin)
        for name, place in placed(simulation.outputs).items()
        for kind, suffix in kinds
    ]
    parts += [Part(name, kind, "", datatype, (), 1) for name, (kind, datatype) in LINEAGE.items()]
    named = {part.name: part for part in parts}
    if len(named) < len(parts):
        twice = next(part.name for part in parts if named[part.name] is not part)
        raise UsageError(f"Simulation '{simulation.name}' cannot be served: its output '{twice}' has a name that every answer uses.")
    return named
