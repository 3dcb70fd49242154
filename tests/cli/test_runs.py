"""`mlforhpc report --perfetto` and `--mllog`: of runs and campaigns, as paths and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlforhpc import Campaign


@pytest.fixture
def folders(tmp_path):
    """Two campaigns of one task each; no run folders: they have no result."""
    for name in ("a", "b"):
        with Campaign(tmp_path / name, engine="serial") as campaign:
            assert campaign.broker.submit("simulate", abs, -1).result() == 1
    return [tmp_path / "a", tmp_path / "b"]


def test_each_folder_gets_its_timeline(call, folders):
    """Paths a line, or as JSON; each holds its task."""
    done = call("report", "--perfetto", *folders)
    paths = [folder / "timeline.perfetto.json" for folder in folders]
    assert done.code == 0 and done.out.split() == [str(path) for path in paths]
    assert call("report", "--perfetto", "--json", *folders).json == {"perfetto": [str(path) for path in paths]}
    for path in paths:
        assert [e["args"]["label"] for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"] == ["abs"]


def test_output_names_the_file_of_one(call, folders, tmp_path):
    """Of several it would be overwritten: bad usage."""
    assert call("report", "--perfetto", folders[0], "--output", tmp_path / "t.json").code == 0 and (tmp_path / "t.json").exists()
    refused = call("report", "--perfetto", *folders, "--output", tmp_path / "u.json")
    assert refused.code == 2 and "found 2 runs" in refused.said and not (tmp_path / "u.json").exists()


def test_a_folder_without_a_trace_is_bad_usage(call, tmp_path):
    """A sentence, exit code 2."""
    done = call("report", "--perfetto", tmp_path)
    assert done.code == 2 and "has no events.jsonl" in done.said


def test_a_run_gets_its_event_log(call, tmp_path):
    """MLPerf-style lines, beside it or where it is said; one format at a time, and only of a run that has ended."""
    run = Path(__file__).parent.parent / "data" / "surrogate-nanoconfinement-small-seed0"
    path = tmp_path / "log.txt"
    assert call("report", "--mllog", "--json", run, "--output", path).json == {"mllog": [str(path)]}
    assert all(line.startswith(":::MLLOG {") for line in path.read_text().splitlines())
    assert call("report", "--mllog", "--perfetto", run).code == 2
    assert call("report", "--mllog", tmp_path).code == 2
