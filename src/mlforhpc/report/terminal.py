"""What a terminal shows at the end of a run, and of several: the same figures as the HTML report, on a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlforhpc.core.result import Interval, Result, Verdict
from mlforhpc.report import cards, numbers
from mlforhpc.report.run_folder import RunFolder, read
from mlforhpc.report.spans import Phase, activity


def show(renderable: RenderableType) -> None:
    """Print to standard output, as wide as the terminal."""
    Console().print(renderable)


def summary(result: Result, folder: Path | None) -> RenderableType:
    """Verdict and reason, headline figures with intervals, phases, and where the run is."""
    shown = cards.cards(result)
    parts: list[RenderableType] = [_verdict_line(result.verdict), _headline(shown), *_notes(shown)]
    if folder is not None and (folder / "manifest.json").exists():
        run = read(folder)
        done = activity(run.events())
        if done.phases:
            parts.append(_phases(done.phases, done.makespan_s))
        parts.append(Text(f"run folder: {folder}", style="dim"))
    return Group(*parts)


def suite_table(folders: Sequence[Path], skipped: Sequence[str], page: Path | None) -> RenderableType:
    """One line a run, what was skipped and why, and where the report is."""
    parts: list[RenderableType] = [runs_table([read(folder) for folder in folders])] if folders else []
    parts += [Text(f"skipped: {line}", style="yellow") for line in skipped]
    if page is not None:
        parts.append(Text(f"report: {page}", style="bold"))
    return Group(*parts)


def runs_table(runs: Sequence[RunFolder]) -> Table:
    """Name, size, verdict, q with its upper limit against the target, gain, N*, S(infinity), time; fits 80 columns."""
    table = Table(title="Runs", title_justify="left", box=None, pad_edge=False, header_style="dim")
    table.add_column("name", overflow="fold", min_width=12)
    table.add_column("verdict", no_wrap=True)
    for column in ("q", "target", "gain", "N*", "S(∞)"):
        table.add_column(column, justify="right", no_wrap=True)
    several = len({run.manifest.engine for run in runs}) > 1
    for run in runs:
        m, v = run.manifest, run.result.verdict
        q, *others = cards.overview([run.result])[0]
        name = f"{m.benchmark}\n{m.size}, seed {m.seed}" + (f"\n{m.engine}" if several else "")
        judged = f"{q.value}\n{_limit(run.result)}" if q else numbers.NONE
        figures = [f"{card.value}\n{card.ends}".strip() if card else numbers.NONE for card in others]
        verdict = _badge(v).append(f"\n{numbers.seconds(activity(run.events()).makespan_s)}", style="dim")
        table.add_row(Text(name), verdict, *(Text(text) for text in (judged, numbers.given(v.target), *figures)))
    return table


def _limit(result: Result) -> str:
    """Upper limit of the error: the stated one-sided one, else the interval's end."""
    stated = result.quality.get("q_upper")
    q = next((interval for name, interval in result.headline.items() if name.startswith("q")), Interval(value=None))
    limit = stated if stated is not None else q.upper
    return "open" if limit is None else f"≤ {numbers.number(limit)}"


def _verdict_line(verdict: Verdict) -> Text:
    line = _badge(verdict)
    if not verdict.ranked:
        line.append(", not ranked", style="dim")
    line.append(f"  {verdict.reason}", style="default")
    return line


def _badge(verdict: Verdict) -> Text:
    good = verdict.status == "VALID"
    return Text.assemble((f"{'✓' if good else '✗'} {verdict.status}", "bold green" if good else "bold red"))


def _headline(shown: Sequence[cards.Card]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("interval", no_wrap=True)
    table.add_column("at")
    table.add_column("against")
    for card in shown:
        table.add_row(*(Text(text) for text in (card.name, card.value, card.ends or "none", card.coverage, card.reference)))
    return table


def _notes(shown: Sequence[cards.Card]) -> list[RenderableType]:
    """A line for each note, after the figures that it is about."""
    about: dict[str, list[str]] = {}
    for card in shown:
        for note in filter(None, card.note.split("; ")):
            about.setdefault(note, []).append(card.name)
    return [Text(f"{', '.join(names)} - {note}", style="dim") for note, names in about.items()]


def _phases(phases: Sequence[Phase], makespan_s: float | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title=f"phases, of {numbers.seconds(makespan_s)}", title_justify="left")
    for column in ("phase", "account"):
        table.add_column(column)
    for column in ("tasks", "slot time", "share"):
        table.add_column(column, justify="right")
    for phase in phases:
        account = "" if phase.kind == "idle" else "measurement" if phase.measurement else "learned"
        row = (phase.kind, account, str(phase.tasks or ""), numbers.seconds(phase.slot_s), numbers.percent(phase.share))
        table.add_row(*(Text(text) for text in row))
    return table
