"""Writes one self-contained HTML file: no script, no external resource, light and dark, wide and narrow, same bytes for the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from mlforhpc.core.errors import UsageError
from mlforhpc.report import cards, numbers, palette, timeline
from mlforhpc.report.page import RunView, view
from mlforhpc.report.run_folder import RunFolder, read

MOST_BYTES = 2_000_000


def write_report(run_folders: Sequence[Path], path: Path) -> Path:
    """Write the report of one run or several.

    Args:
        run_folders: folders of finished runs.
        path: the HTML file; replaced if it is there.

    Returns:
        `path`.

    Raises:
        UsageError: no run given, or a folder is no finished run.
    """
    if not run_folders:
        raise UsageError("There is no run to report: give at least one run folder, as `mlforhpc run` prints them.")
    page = render([read(Path(folder)) for folder in run_folders])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def render(runs: Sequence[RunFolder]) -> str:
    """The page; where it would grow beyond 2 MB, long downloads go first, then all, then the figures of all but the first runs."""
    views = [view(run, index) for index, run in enumerate(runs)]
    page = ""
    for longest, details in ((10**9, len(runs)), (500, len(runs)), (0, len(runs)), (0, 4), (0, 1), (0, 0)):
        page = _page([one.reduced(longest=longest, details=index < details) for index, one in enumerate(views)])
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _page(views: list[RunView]) -> str:
    template = _environment().get_template("report.html.j2")
    rows = _overview(views) if len(views) > 1 else {}
    return template.render(views=views, rows=rows, columns=list(cards.OVERVIEW), styles=_styles(), title=_title(views))


def _overview(views: list[RunView]) -> dict[str, list[cards.Card | None]]:
    """Run's id -> its cells; runs of one benchmark and size are drawn on one scale."""
    rows: dict[str, list[cards.Card | None]] = {}
    for group in dict.fromkeys((v.manifest.benchmark, v.manifest.size) for v in views):
        members = [v for v in views if (v.manifest.benchmark, v.manifest.size) == group]
        rows |= {v.id: cells for v, cells in zip(members, cards.overview([v.result for v in members]), strict=True)}
    return rows


def _title(views: list[RunView]) -> str:
    if len(views) == 1:
        return f"{views[0].manifest.benchmark}: {views[0].result.verdict.status}"
    return f"{len(views)} runs: {', '.join(dict.fromkeys(v.manifest.benchmark for v in views))}"


def _styles() -> Markup:
    sheet = _template_text("report.css").replace("/*LIGHT*/", palette.css(palette.LIGHT)).replace("/*DARK*/", palette.css(palette.DARK))
    return Markup(sheet)  # ours: no run's text goes in


def _template_text(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=numbers.number,
        cell=numbers.cell,
        seconds=numbers.seconds,
        size=numbers.size,
        percent=numbers.percent,
        colour=timeline.colour,
    )
    return environment
