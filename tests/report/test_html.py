"""The HTML report without a browser: structure, escaping, size, determinism, nothing external."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Figure, Interval, Panel, Series
from mlforhpc.report import html, write_report
from mlforhpc.report.run_folder import read

VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}$\\frac{1}$\x00\x1b\n"


class Page(HTMLParser):
    """Collects what is in a page and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag begins."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag that ends itself."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """A tag ends: it must be the last one opened."""
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        """Values of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def page(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of one run."""
    folder = tmp_path_factory.mktemp("page")
    return write_report([parts["write_run"](folder / "run")], folder / "out" / "report.html").read_text()


def test_the_page_is_well_formed_and_says_the_verdict(page: str) -> None:
    """Tags nest, and verdict, reason, figures' titles and captions are text, readable without scripts."""
    parsed = Page(page)
    words = " ".join(parsed.text)
    assert parsed.open == []
    assert "script" not in parsed.tags
    for wanted in (
        "VALID",
        "upper limit 0.048",
        "Fidelity ladder",
        "Slot timeline",
        "Phases",
        "AMD EPYC 7763",
        "10.1109/eScience.2019.00057",
    ):
        assert wanted in words


def test_ids_are_unique_and_every_reference_has_its_target(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """Figures stand beside each other in one page without sharing clip paths or markers, also those of two equal runs."""
    r = replace(parts["result"](), figures=parts["result"]().figures[2:5])
    runs = [make_run("a", r=r), make_run("b", m=parts["manifest"](run_id="b"), r=r)]
    parsed = Page(write_report(runs, tmp_path / "r.html").read_text())
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    inside = {value[1:] for value in parsed.values("href") if value.startswith("#")}
    inside |= {m for value in parsed.values("clip-path") + parsed.values("style") for m in re.findall(r"url\(#([^)]+)\)", value)}
    inside |= {word for value in parsed.values("aria-labelledby") for word in value.split()}
    assert inside <= set(ids)


def test_nothing_is_loaded_from_outside(page: str) -> None:
    """The only addresses are DOI links; no style imports, no sources, no SVG name spaces."""
    assert set(re.findall(r"https?://[^/\"]+", page)) == {"https://doi.org"}
    parsed = Page(page)
    assert not {"img", "iframe", "object", "embed", "script", "video"} & set(parsed.tags)
    assert parsed.values("src") == []
    assert "@import" not in page and "url(http" not in page
    assert all(value.startswith(("#", "data:", "https://doi.org/")) for value in parsed.values("href"))


def test_every_figure_has_a_name_and_a_description(page: str) -> None:
    """Each drawing is an image with title and description for those who cannot see it."""
    parsed = Page(page)
    drawings = [a for a in parsed.attributes if a[0] == "svg" and a[1] == "role"]
    assert len(drawings) == parsed.tags.count("svg") == parsed.tags.count("desc") >= 9
    assert all(value == "img" for _, _, value in drawings)


def test_drawings_use_the_page_s_colours(page: str) -> None:
    """No sentinel and no fixed colour is left in a drawing, so that both themes hold."""
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert "#fe" not in drawings
    assert re.findall(r"(?:fill|stroke): #[0-9a-f]{3,6}", drawings) == []


def test_whatever_a_user_gives_is_escaped(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """Names, reasons, labels, packages and references are text, never markup, templates or formulas."""
    base = parts["result"]()
    panel = Panel(title=EVIL, x_label=EVIL, y_label=EVIL, marks={EVIL: 1.0}, levels={EVIL: 2.0}, categories=[EVIL])
    panel.series.append(Series(label=EVIL, x=[0.0], y=[1.0], style="bars"))
    result = replace(
        base,
        verdict=replace(base.verdict, reason=EVIL),
        headline={EVIL: Interval(value=1.0, lower=0.5, upper=2.0, note=EVIL, meaning=EVIL)},
        quality={EVIL: 1.0},
        performance={EVIL: 1.0},
        figures=[Figure(name=EVIL, title=EVIL, caption=EVIL, panels=[panel])],
        tables=[replace(base.tables[0], name=EVIL, title=EVIL, caption=EVIL, columns=[EVIL], rows=[[EVIL]])],
        references=[EVIL + ' 10.1000/x"onclick="alert(3)'],
    )
    m = parts["manifest"](
        benchmark=EVIL, size=EVIL, host=EVIL, engine=EVIL, packages={EVIL: EVIL}, configuration={EVIL: EVIL}, command=EVIL
    )
    rows = [(EVIL, "learned", 1.0, 0), ("simulate", EVIL, 1.0, 1)]
    text = write_report([make_run("evil", m=m, r=result, rows=rows)] * 2, tmp_path / "r.html").read_text()
    parsed = Page(text)
    assert parsed.open == []
    assert not {"script", "img"} & set(parsed.tags)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert "{{7*7}}" in " ".join(parsed.text) and "<script" not in text


def test_the_same_runs_give_the_same_bytes(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """No times, no random ids: a report can be compared and cached."""
    r = parts["result"]()
    run = make_run(r=replace(r, figures=r.figures[1:4]))
    first, second = (write_report([run], tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


@pytest.mark.parametrize("slots", [2, 40, 300])
def test_thousands_of_tasks_stay_small(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path, slots: int) -> None:
    """A trace of 5,000 tasks adds little, on any number of slots."""
    m, r = parts["manifest"](slots=slots), replace(parts["result"](), figures=[])
    path = write_report([make_run(m=m, r=r, rows=parts["task_rows"](5000, slots))], tmp_path / "r.html")
    assert path.stat().st_size < 300_000


def test_many_runs_stay_below_two_megabytes(
    make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a page would grow too large, downloads go first, then figures, and the page says so."""
    runs = [make_run(f"run{i}", m=parts["manifest"](run_id=f"run{i}", seed=i)) for i in range(2)]
    full = len(html.render([read(run) for run in runs]).encode())
    assert full < html.MOST_BYTES
    monkeypatch.setattr(html, "MOST_BYTES", full - 1)
    fewer = html.render([read(run) for run in runs])
    assert len(fewer.encode()) < full and "left out" not in fewer
    monkeypatch.setattr(html, "MOST_BYTES", 150_000)
    bare = html.render([read(run) for run in runs])
    assert len(bare.encode()) <= 150_000 and "left out" in bare and "VALID" in bare


def test_several_runs_begin_with_an_overview(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """Every run has a line with its verdict and a link to its section."""
    invalid = parts["result"](valid=False, reason="the error is too large")
    valid = replace(parts["result"](), figures=[])
    runs = [make_run("a", r=valid), make_run("b", m=parts["manifest"](run_id="b", seed=1), r=replace(invalid, figures=[]))]
    text = write_report(runs, tmp_path / "r.html").read_text()
    overview = text[text.index('id="overview"') : text.index("<article")]
    assert "1 of 2 are VALID" in overview
    assert 'href="#r1"' in overview and 'href="#r2"' in overview
    assert "INVALID" in overview and "the error is too large" in text


def test_a_bare_run_has_a_report(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """No trace, no figures, no headline: the verdict stands alone."""
    r = replace(parts["result"](), headline={}, figures=[], tables=[], quality={}, performance={}, references=[])
    run = make_run(r=r)
    (run / "events.jsonl").unlink()
    text = write_report([run], tmp_path / "r.html").read_text()
    assert Page(text).open == [] and "VALID" in text and "Slot timeline" not in text


def test_no_runs_is_bad_usage(tmp_path: Path) -> None:
    """A report of nothing is refused."""
    with pytest.raises(UsageError, match="at least one run folder"):
        write_report([], tmp_path / "r.html")
