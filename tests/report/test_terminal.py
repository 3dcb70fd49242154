"""What the terminal shows, and the comparison of two runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Interval
from mlforhpc.report import comparison, terminal


def printed(renderable: Any, width: int = 80) -> str:
    """What a terminal of that width shows."""
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(renderable)
        return console.export_text()


def test_the_terminal_loads_no_drawing() -> None:
    """Tables, `cite` and `compare` start without matplotlib and jinja2."""
    code = "import sys, mlforhpc.report.terminal, mlforhpc.report.comparison; sys.exit(bool({'matplotlib', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_summary_says_verdict_headline_phases_and_folder(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """The figures of the report on a few lines of 80 columns."""
    run = make_run()
    text = printed(terminal.summary(parts["result"](), run))
    for wanted in ("✓ VALID", "0.0432", "[0.0389, 0.0480]", "90 %", "target 0.05", "idle", "measurement", "run folder"):
        assert wanted in text


def test_a_note_is_said_once_for_all_figures_that_it_is_about(parts: dict[str, Any]) -> None:
    """Two figures share one note, one has another as well: two lines below the table."""
    shared = Interval(value=1.0, lower=0.5, upper=2.0, note="one repeat")
    result = replace(parts["result"](), headline={"q": replace(shared, note="limit 1.9; one repeat"), "gain": shared})
    lines = [line.strip() for line in printed(terminal.summary(result, None)).splitlines()]
    assert lines[-2:] == ["q - limit 1.9", "q, gain - one repeat"]


def test_an_invalid_run_says_why(parts: dict[str, Any]) -> None:
    """INVALID, and the reason as given, brackets and all."""
    result = parts["result"](valid=False, reason="stated errors [bold]off[/] by 2")
    assert "✗ INVALID, not ranked  stated errors [bold]off[/] by 2" in printed(terminal.summary(result, None))


def test_the_table_of_runs_fits_eighty_columns(make_run: Callable[..., Path], parts: dict[str, Any], tmp_path: Path) -> None:
    """Name, verdict, time, q with its limit, target, gain, N*, S(infinity): nothing is cut off."""
    runs = [make_run("a"), make_run("b", m=parts["manifest"](run_id="b", seed=1), r=parts["result"](valid=False))]
    text = printed(terminal.suite_table(runs, ["x: needs the extra 'md'"], tmp_path / "report.html"))
    for wanted in ("S(∞)", "100,342", "≤ 0.0480", "[8.40, 14.7]", "[68, 121]", "✗ INVALID", "5 min", "skipped: x", "report.html"):
        assert wanted in text
    assert "…" not in text


def test_the_stated_upper_limit_is_shown(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """Where the result states the one-sided limit it is that which is judged."""
    result = replace(parts["result"](), quality={"q_upper": 0.0471})
    assert "≤ 0.0471" in printed(terminal.suite_table([make_run(r=result)], [], None))


def test_a_comparison_says_better_worse_or_no_difference(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """B / A with its interval; which way is better is known for the figures of the house or said by the figure."""
    base = parts["result"]()
    a = {"q": Interval(value=0.04, lower=0.036, upper=0.044), "gain(1000)": Interval(value=10.0, lower=8.0, upper=12.5)}
    b = {"q": Interval(value=0.08, lower=0.072, upper=0.088), "gain(1000)": Interval(value=11.0, lower=8.8, upper=13.75)}
    own = {"mine": Interval(value=1.0, lower=0.9, upper=1.1)}, {"mine": Interval(value=2.0, lower=1.8, upper=2.2)}
    runs = [make_run("a", r=replace(base, headline=a | own[0])), make_run("b", r=replace(base, headline=b | own[1]))]
    found = comparison.compare_runs(*runs)
    assert {line.figure: line.finding for line in found.lines} == {"q": "worse", "gain(1000)": "no difference shown", "mine": "higher"}
    assert found.lines[0].ratio.value == pytest.approx(2.0)
    assert "worse" in printed(comparison.table(found))


def test_what_differs_is_named(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """Seed, system, configuration and package versions."""
    other = parts["manifest"](run_id="b", seed=3, host="elsewhere", packages={"numpy": "2.0"})
    found = comparison.compare_runs(make_run("a"), make_run("b", m=other))
    text = printed(comparison.table(found), width=120)
    assert "seed: 0 in A, 3 in B" in text and "node017 in A, elsewhere in B" in text and "scipy: 1.17.1 in A, absent in B" in text


@pytest.mark.parametrize("change", [{"benchmark_version": "2"}, {"size": "medium"}, {"benchmark": "other"}])
def test_numbers_that_do_not_mean_the_same_are_not_compared(
    make_run: Callable[..., Path], parts: dict[str, Any], change: dict[str, str]
) -> None:
    """Another benchmark, version or size is refused."""
    with pytest.raises(UsageError, match="cannot be compared"):
        comparison.compare_runs(make_run("a"), make_run("b", m=parts["manifest"](run_id="b", **change)))


def test_figures_without_intervals_are_not_judged(make_run: Callable[..., Path]) -> None:
    """A ratio alone shows no difference."""
    found = {line.figure: line for line in comparison.compare_runs(make_run("a"), make_run("b")).lines}
    assert found["S(0)"].finding == "no interval to judge by" and found["S(0)"].ratio.value == 1.0
