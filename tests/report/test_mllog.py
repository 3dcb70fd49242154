"""A run as MLPerf-style log lines: their format, what stands in them, that intervals end, and that MLCommons' own parser reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.report import read, write_mllog
from mlforhpc.report.mllog import log_lines

ROWS = [("simulate", "learned", 1.0, 0), ("simulate", "learned", 2.0, 1), ("learn", "learned", 1.0, 0), ("simulate", "measurement", 0.5, 1)]


def test_every_line_has_the_documented_format_and_time_goes_on(make_run: Callable[..., Path]) -> None:
    """A prefix, one JSON object with six fields, unix milliseconds that never go back."""
    path = write_mllog(make_run(rows=ROWS))
    assert path.name == "mllog.txt"
    lines = path.read_text().splitlines()
    found = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
    assert all(line.startswith(":::MLLOG {") for line in lines)
    assert all(list(one) == ["namespace", "time_ms", "event_type", "key", "value", "metadata"] for one in found)
    assert all(isinstance(one["time_ms"], int) and isinstance(one["metadata"], dict) for one in found)
    times = [one["time_ms"] for one in found]
    assert times == sorted(times) and re.fullmatch(r"1767\d{9}", str(times[0]))


def by_key(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Lines by their key."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in log_lines(read(run)):
        found.setdefault(line["key"], []).append(line)
    return found


def test_it_says_what_ran_and_how_good_it_was(make_run: Callable[..., Path]) -> None:
    """Benchmark, seed, size and configuration; the judged figure against its target; nothing about a submitter or a cache."""
    found = by_key(make_run(rows=ROWS))
    assert found["submission_benchmark"][0]["value"] == "surrogate-nanoconfinement"
    values = {key: found[key][0]["value"] for key in ("seed", "size", "engine", "slots", "training runs")}
    assert values == {"seed": 0, "size": "small", "engine": "processes", "slots": 2, "training runs": 96}
    (accuracy,) = found["eval_accuracy"]
    assert accuracy["value"] == 0.0432 and accuracy["metadata"]["target"] == 0.05 and accuracy["metadata"]["quality"] == "q"
    assert found["train_samples"][0]["value"] == 2 and found["eval_samples"][0]["value"] == 1
    assert not {"submission_org", "submission_division", "cache_clear"} & set(found)


@pytest.mark.parametrize(("valid", "status"), [(True, "success"), (False, "aborted")])
def test_the_run_stops_with_a_status(valid: bool, status: str, make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """Success where the target is reached; the verdict stands beside it. It begins after the initialisation, and ends last."""
    lines = log_lines(read(make_run(r=parts["result"](valid=valid), rows=ROWS)))
    keys = [line["key"] for line in lines]
    assert keys.index("init_start") < keys.index("init_stop") < keys.index("run_start") < keys.index("simulate")
    assert keys[-1] == "run_stop" and lines[-1]["metadata"]["status"] == status


def test_intervals_of_a_kind_end_before_the_next_begins(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """Tasks that overlap or follow at once are one; the referee's stand in a namespace of their own."""
    lines = log_lines(read(make_run(rows=parts["task_rows"](count=200))))
    open_now: set[tuple[str, str]] = set()
    for line in lines:
        which = (line["namespace"], re.sub("_(start|stop)$", "", line["key"]))
        if line["event_type"] == "INTERVAL_START":
            assert which not in open_now
            open_now.add(which)
        elif line["event_type"] == "INTERVAL_END":
            open_now.remove(which)
    assert not open_now
    simulated = [line for line in lines if line["key"] == "simulate" and line["event_type"] == "INTERVAL_START"]
    assert {line["namespace"] for line in simulated} == {"", "measurement"}
    assert sum(line["metadata"]["tasks"] for line in simulated if line["namespace"] == "") == 54


def test_a_run_that_has_not_ended_is_refused(make_run: Callable[..., Path]) -> None:
    """With the way to end it; no file is left."""
    run = make_run(rows=ROWS)
    (run / "result.json").unlink()
    with pytest.raises(UsageError, match="--resume"):
        write_mllog(run)
    assert not (run / "mllog.txt").exists()


def test_the_parser_of_mlcommons_reads_every_line(make_run: Callable[..., Path]) -> None:
    """Its `mlp_parser`, where the package mlperf-logging is installed."""
    parser = pytest.importorskip("mlperf_logging.compliance_checker.mlp_parser", reason="pip install mlperf-logging")
    run = make_run(rows=ROWS)
    parsed, errors = parser.parse_file(str(write_mllog(run)), ruleset="6.1.0")
    assert not errors and [line.key for line in parsed] == [line["key"] for line in log_lines(read(run))]
