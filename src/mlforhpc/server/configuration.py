"""What is served, how and to whom: from one TOML file, and from what the command line says over it. Paths in it start where it lies.

port = 8000                         # also host, folder, log, engine, slots, token_file, certificate, key, disk_budget = "20 GB"
[terms]                             # of every simulation: tolerance, delta, audit, fidelity, limit_s, queue, learner, law, seed
tolerance = 0.1
[simulations.nanoconfinement]       # a built-in one; terms of its own may stand here, and settings = { ... }
[simulations.beam]
function = "beam.py:beam"           # a Simulation, or a function with [simulations.beam.parameters] and [simulations.beam.outputs]
[simulations.solver]
executable = "solver.toml"
[limits]                            # see `server.service.Limits`
[engines.cluster]                   # see `core.choice`
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mlforhpc.core.choice import EngineChoice, engine_choice
from mlforhpc.core.errors import UsageError
from mlforhpc.core.section import Section, read
from mlforhpc.core.simulation import Output, Simulation
from mlforhpc.core.sizes import size_bytes
from mlforhpc.core.space import Parameter
from mlforhpc.scenarios.online import Terms
from mlforhpc.server.guard import Trust
from mlforhpc.server.service import Limits
from mlforhpc.simulations import _toml
from mlforhpc.simulations._source import simulation_of

FOLDER, LOG, HOST, PORT = Path("mlforhpc-service"), "log.jsonl", "127.0.0.1", 8000
TOKEN_VARIABLE = "MLFORHPC_TOKEN"
SHORTEST_TOKEN = 16
FIDELITY: Mapping[str, float] = {"nanoconfinement": 0.012, "charged_slit": 0.02}
"""Where full runs take minutes: what the benchmarks of these simulations use at size small (12,000 and 20,000 of a million steps)."""
OFF_LOOPBACK_RATE_PER_S = 1_000.0
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_TERMS: Mapping[str, type] = {
    "tolerance": float, "delta": float, "audit": float, "fidelity": float, "limit_s": float,
    "queue": int, "learner": str, "law": str, "seed": int,
}  # fmt: skip
_TOP: Mapping[str, type] = {
    "host": str, "port": int, "folder": str, "log": str, "engine": str, "slots": int,
    "token_file": str, "certificate": str, "key": str, "disk_budget": str,
}  # fmt: skip
_WAYS = ("builtin", "function", "executable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A simulation and its terms."""

    simulation: Simulation
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a server is made from.

    Attributes:
        served: by name.
        engine: where simulations run and surrogates are fitted.
        folder: where everything is kept.
        log: file of the log; None = standard output.
        host, port: where to listen; port 0 = a free one.
        trust: whom to believe.
        certificate, key: PEM files; None = no TLS.
        limits: of requests.
        budget_bytes: of the store; None = the disk's.
        notes: sentences about what was decided for the user.
    """

    served: Mapping[str, Served]
    engine: EngineChoice
    folder: Path = FOLDER
    log: Path | None = FOLDER / LOG
    host: str = HOST
    port: int = PORT
    trust: Trust = field(default_factory=Trust)
    certificate: Path | None = None
    key: Path | None = None
    limits: Limits = field(default_factory=Limits)
    budget_bytes: int | None = None
    notes: tuple[str, ...] = ()


def configuration(
    file: Path | None = None,
    *,
    simulations: Sequence[str] = (),
    said: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Configuration:
    """The configuration.

    Args:
        file: as in the file's docstring; None = defaults.
        simulations: served besides those of the file: FILE.py:name, FILE.toml or a built-in name.
        said: what goes over the file's: its top keys, and those of [terms], which then hold for all simulations.
        environment: may have the token.

    Raises:
        UsageError: with the key, what was wanted, what was found, the way out.
    """
    top = read(file, "The service")[0] if file is not None else Section(Path("no file"), "", {})
    top.only(*_TOP, "terms", "limits", "simulations", "engines")
    over = {name: value for name, value in (said or {}).items() if value is not None}
    values = {name: top.get(name, kind, None) for name, kind in _TOP.items()} | {name: over[name] for name in _TOP if name in over}
    beside = file.parent if file is not None else Path()
    paths = {
        name: _path(values[name], beside if name not in over else Path()) for name in ("folder", "log", "token_file", "certificate", "key")
    }
    everyone = _terms(top.section("terms")) if "terms" in top.values else {}
    overriding = {name: over[name] for name in _TERMS if name in over}
    served, notes = _served(top, simulations, everyone, overriding)
    host = values["host"] or HOST
    trust = _trust(host, _token(paths["token_file"], environment))
    tls = _tls(paths["certificate"], paths["key"])
    if trust.token is not None and not tls[0] and not is_loopback(host):
        notes.append("Without --certificate and --key the token and all answers go over the network as they are.")
    port = PORT if values["port"] is None else values["port"]
    if not 0 <= port <= 65535:
        top.wrong("port", "a number from 0 to 65535", port)
    return Configuration(
        served=served,
        engine=_engine(engine_choice(values["engine"] or "processes", slots=values["slots"], file=file), notes),
        folder=paths["folder"] or FOLDER,
        log=None if str(values["log"]) == "-" else paths["log"] or (paths["folder"] or FOLDER) / LOG,
        host=host,
        port=port,
        trust=trust,
        certificate=tls[0],
        key=tls[1],
        limits=_limits(top.section("limits") if "limits" in top.values else None, loopback=is_loopback(host)),
        budget_bytes=_bytes(top, "disk_budget", values["disk_budget"]),
        notes=tuple(notes),
    )


def _engine(choice: EngineChoice, notes: list[str]) -> EngineChoice:
    """With a slot more than a fit takes, since the simulations that requests wait for would wait for the fit."""
    if choice.name == "processes" and choice.slots is None:
        return replace(choice, slots=max(2, len(os.sched_getaffinity(0))))
    if choice.slots == 1:
        notes.append("With one slot, simulations wait while a surrogate is fitted; with two they do not.")
    return choice


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _served(top: Section, more: Sequence[str], everyone: Mapping[str, Any], over: Mapping[str, Any]) -> tuple[dict[str, Served], list[str]]:
    """What is served, and a note for each fidelity that nobody said."""
    found: dict[str, Served] = {}
    notes: list[str] = []
    tables = top.section("simulations").sections() if "simulations" in top.values else {}
    made = [
        (_simulation(name, table), {**everyone, **_terms(table, *_WAYS, "parameters", "outputs"), **over}) for name, table in tables.items()
    ]
    made += [(simulation_of(text), {**everyone, **over}) for text in more]
    if not made:
        raise UsageError("Nothing to serve was named: say 'mlforhpc serve nanoconfinement', FILE.py:name, FILE.toml, or --config FILE.")
    for simulation, terms in made:
        name = simulation.name
        if not re.fullmatch(r"\w[\w.-]*", name) or name == "stats":
            raise UsageError(f"A simulation that is served needs a name of letters, digits, '_', '-' and '.', not 'stats'; found '{name}'.")
        if name in found:
            raise UsageError(f"Simulation '{name}' was named twice.")
        if "fidelity" not in terms and name in FIDELITY:
            terms["fidelity"] = FIDELITY[name]
            notes.append(f"'{name}' runs at fidelity {FIDELITY[name]:g}, as its benchmark does at size small; --fidelity says otherwise.")
        if simulation.settings is None and terms.get("settings"):
            raise UsageError(f"Simulation '{name}' has no settings, found {', '.join(terms['settings'])}.")
        try:
            found[name] = Served(simulation=simulation, terms=Terms(**terms))
        except UsageError as error:
            raise UsageError(f"Simulation '{name}': {error}") from None
    return found, notes


def _simulation(name: str, table: Section) -> Simulation:
    """What a table [simulations.NAME] names."""
    ways = [way for way in _WAYS if way in table.values]
    if len(ways) > 1:
        raise UsageError(f"'{table.file}', key '{table.key}': wanted one of {', '.join(_WAYS)}, found {' and '.join(ways)}.")
    way = ways[0] if ways else "builtin"
    text = table.get(way, str, name)
    if way != "builtin":
        text = str(table.file.parent / text)
    parameters: dict[str, Parameter] = {}
    outputs: list[Output] = []
    if "parameters" in table.values:
        parameters = {key: _toml.parameter(section) for key, section in table.section("parameters").sections().items()}
    for key, section in table.section("outputs").sections().items() if "outputs" in table.values else ():
        section.only(*_toml.OUTPUT)
        outputs.append(_toml.output(key, section))
    try:
        simulation = simulation_of(text, parameters=parameters, outputs=outputs)
    except UsageError as error:
        raise UsageError(f"'{table.file}', table [{table.key}]: {error}") from None
    if simulation.name != name:
        raise UsageError(
            f"'{table.file}': the table [{table.key}] is of simulation '{simulation.name}'; call it [simulations.{simulation.name}]."
        )
    return simulation


def _terms(table: Section, *others: str) -> dict[str, Any]:
    """The terms that a table says; `others` are what else it may have."""
    table.only(*_TERMS, "settings", *others)
    terms: dict[str, Any] = {name: table.get(name, kind, None) for name, kind in _TERMS.items() if name in table.values}
    if "settings" in table.values:
        terms["settings"] = dict(table.section("settings").values)
    return terms


def _limits(table: Section | None, *, loopback: bool) -> Limits:
    limits = Limits() if loopback else Limits(client_rate_per_s=OFF_LOOPBACK_RATE_PER_S, client_burst=int(2 * OFF_LOOPBACK_RATE_PER_S))
    if table is None:
        return limits
    kinds: dict[str, type] = {each.name: float if isinstance(getattr(limits, each.name), float) else int for each in fields(Limits)}
    table.only(*kinds)
    said: dict[str, Any] = {name: table.get(name, kind, None) for name, kind in kinds.items() if name in table.values}
    for name, value in said.items():
        if not (value > 0 or (value == 0 and name == "client_rate_per_s")):
            table.wrong(name, "a number above 0", value)
    return replace(limits, **said)


def _trust(host: str, token: bytes | None) -> Trust:
    loopback = is_loopback(host)
    if not loopback and token is None:
        raise UsageError(
            f"Off loopback (host '{host}') the server wants a token from its clients: put one of at least {SHORTEST_TOKEN} characters "
            f"into a file and say --token-file FILE, or set {TOKEN_VARIABLE}. For this machine alone listen on 127.0.0.1."
        )
    return Trust(token=token, hosts=_LOOPBACK_NAMES | {host.lower()} if loopback and token is None else frozenset())


def _token(file: Path | None, environment: Mapping[str, str]) -> bytes | None:
    """The token from the file, else from the environment."""
    where = f"The token file '{file}'"
    if file is not None:
        try:
            token = file.read_bytes().strip()
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}.") from None
    elif TOKEN_VARIABLE in environment:
        where, token = f"The variable {TOKEN_VARIABLE}", environment[TOKEN_VARIABLE].encode().strip()
    else:
        return None
    if len(token) < SHORTEST_TOKEN or not re.fullmatch(rb"[!-~]+", token):
        raise UsageError(f"{where} must have one token of at least {SHORTEST_TOKEN} printable characters, found {len(token)} bytes.")
    return token


def _tls(certificate: Path | None, key: Path | None) -> tuple[Path | None, Path | None]:
    if (certificate is None) != (key is None):
        raise UsageError("TLS needs two files: --certificate FILE and --key FILE, found one of them.")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise UsageError(f"There is no file '{file}'; --certificate and --key are PEM files.")
    return certificate, key


def _bytes(top: Section, key: str, text: str | None) -> int | None:
    try:
        return None if text is None else size_bytes(text)
    except UsageError:
        top.wrong(key, 'a size such as "20 GB" or "500 MiB"', text)


def _path(said: str | Path | None, beside: Path) -> Path | None:
    return None if said is None else beside / said
