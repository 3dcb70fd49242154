"""What the status page says of a simulation, computed before any HTML is written: sentences, cards, shares, rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from mlforhpc.report import numbers
from mlforhpc.scenarios.online import Status
from mlforhpc.server.chart import growth_svg

_AUDITS, _EVENTS = 8, 20
_SOURCES = {"surrogate": "the surrogate", "simulation": "the simulation", "store": "the store"}
Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with what it means; `unit` stands beside it, small."""

    title: str
    value: str
    meaning: str
    tone: Tone = "open"


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar: `x` and `width` in per cent."""

    name: str
    label: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Audit:
    """A row of the table of audits."""

    time: str
    x: str
    rho: str
    error: str
    broken: bool
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """All that the template needs of a simulation."""

    name: str
    version: str
    surrogate: str
    learning: str
    tone: Tone
    badge: str
    promise: str
    standing: str
    cards: list[Card]
    answers: int
    shares: list[Share]
    growth: Markup
    audits: list[Audit]
    events: list[tuple[str, str]]
    thresholds: tuple[tuple[float, int, int, float, bool], ...]
    facts: list[tuple[str, str]]


def model_view(status: Status) -> ModelView:
    """The view of a simulation."""
    tone, badge, standing = _standing(status)
    answers = sum(status.answers.values())
    return ModelView(
        name=status.simulation,
        version=short(status.simulation_version),
        surrogate=short(status.surrogate_version),
        learning=_learning(status),
        tone=tone,
        badge=badge,
        promise=_promise(status),
        standing=standing,
        cards=_cards(status),
        answers=answers,
        shares=_shares(status.answers, answers),
        growth=growth_svg(status.growth, title=f"Effective speedup and gain of {status.simulation} against the answers given"),
        audits=[_audit(*row) for row in reversed(status.recent_audits[-_AUDITS:])],
        events=[(moment(t), text) for t, text in reversed(status.events[-_EVENTS:])],
        thresholds=status.thresholds,
        facts=_facts(status),
    )


def moment(unix_s: float) -> str:
    """A time of day in UTC, with the date where it is another day's."""
    then = time.gmtime(unix_s)
    today = time.strftime("%Y-%m-%d", then) == time.strftime("%Y-%m-%d", time.gmtime())
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)


def short(version: str) -> str:
    """The first digits of a content hash; a version that people wrote stays."""
    return version if len(version) <= 20 else version[:12]


def _promise(status: Status) -> str:
    share, tolerance = numbers.percent(status.delta), numbers.percent(status.tolerance)
    return f"At most {share} of the surrogate's answers are off by more than {tolerance} (relative RMS error)."


def _standing(status: Status) -> tuple[Tone, str, str]:
    """How the promise stands: colour, word, sentence."""
    limit, given = status.broken_limit, status.answers.get("surrogate", 0)
    if not given or limit is None:
        return "open", "no claim yet", "The surrogate has not answered yet; every answer is the simulation's."
    found = f"{status.broken} of {numbers.number(status.audits)} audited answers were off by more."
    most = f"At most {numbers.percent(limit)} of all {numbers.number(given)} surrogate answers are broken (95 %, valid at any time)."
    if limit <= status.delta:
        return "good", "kept", f"{most} {found}"
    if status.audits and status.broken / status.audits > status.delta:
        return "bad", "at risk", f"{found} {most}"
    return "open", "not shown yet", f"{most} {found} More audits narrow this down."


def _cards(status: Status) -> list[Card]:
    limit, fits = status.broken_limit, f"{status.fits} fits: {status.accepted} accepted, {status.refused} refused"
    kept: Tone = "good" if limit is not None and limit <= status.delta else "open"
    most = numbers.NONE if limit is None else numbers.percent(limit)
    speedup, gain = status.effective_speedup, status.gain
    return [
        Card("Effective speedup", _times(speedup), "time to simulate every answer, over the time it all took", _beats(speedup)),
        Card("Gain so far", _times(gain), "cost of answers as accurate without learning, over what these cost", _beats(gain)),
        Card("Broken share, upper limit", most, f"95 %, valid at any time; promised: {numbers.percent(status.delta)}", kept),
        Card("Answers up to", _threshold(status.open_threshold), "half-width of the surrogate's interval over the tolerance"),
        Card("Simulations under way", f"{status.waiting_answers} of {status.queue}", f"and {status.waiting_audits} for audits"),
        Card("Surrogate fitted to", f"{numbers.number(status.runs)} runs" if status.runs else numbers.NONE, fits),
    ]


def _learning(status: Status) -> str:
    if status.learning != "idle":
        return "learning now"
    return f"{status.fits} fits, {status.accepted} accepted" if status.fits else "nothing learned yet"


def _shares(answers: Mapping[str, int], total: int) -> list[Share]:
    found, x = [], 0.0
    for name, label in _SOURCES.items():
        count = answers.get(name, 0)
        width = 100.0 * count / total if total else 0.0
        found.append(Share(name, label, count, round(x, 2), round(width, 2)))
        x += width
    return found


def _audit(unix_s: float, x: Mapping[str, object], rho: float, error: float, broken: bool, version: str) -> Audit:
    parameters = ", ".join(f"{name} = {numbers.number(v) if isinstance(v, int | float) else v}" for name, v in x.items())
    return Audit(moment(unix_s), parameters, numbers.number(rho, 2), numbers.number(error, 2), broken, short(version))


def _facts(status: Status) -> list[tuple[str, str]]:
    corrected = status.broken_limit_corrected
    return [
        ("Simulation's version", status.simulation_version),
        ("Surrogate's version", status.surrogate_version or numbers.NONE),
        ("Mean slot time of a simulation", numbers.seconds(status.simulation_cost_s)),
        ("Mean time of a lookup", numbers.seconds(status.lookup_s)),
        ("Relative noise of a run", numbers.NONE if status.noise is None else numbers.percent(status.noise)),
        ("Upper limit with the noise taken out", numbers.NONE if corrected is None else numbers.percent(corrected)),
        ("Fits accepted, refused", f"{status.accepted}, {status.refused}"),
        ("Answers that the store did not keep", numbers.number(status.unkept)),
    ]


def _times(value: float | None) -> str:
    return numbers.NONE if value is None else f"{numbers.number(value)} ×"


def _beats(value: float | None) -> Tone:
    return "open" if value is None or value <= 1 else "good"


def _threshold(rho: float) -> str:
    return f"ρ = {rho:.2f}" if rho > 0 else "closed"
