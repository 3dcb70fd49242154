"""Run folders are read, and what is none is refused with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.report.run_folder import read


def test_a_run_is_read_as_it_was_written(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """Manifest, result and events come back."""
    run = read(make_run())
    assert run.manifest == parts["manifest"]() and run.result == parts["result"]()
    assert sum(1 for _ in run.events()) == 1 + 3 * 350
    assert run.name == "surrogate-nanoconfinement small seed 0"


def test_a_missing_folder_is_no_run(tmp_path: Path) -> None:
    """The message names the folder and what to give instead."""
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    """Any other folder is refused."""
    with pytest.raises(UsageError, match=r"no manifest\.json"):
        read(tmp_path)


def test_a_run_that_has_not_ended_can_be_resumed(make_run: Callable[..., Path]) -> None:
    """No result yet: the message says how to go on."""
    run = make_run()
    (run / "result.json").unlink()
    with pytest.raises(UsageError, match="--resume"):
        read(run)


@pytest.mark.parametrize("name", ["manifest.json", "result.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema_version": 99}', b'{"run_id": 1}'])
def test_a_damaged_file_is_named(make_run: Callable[..., Path], name: str, content: bytes) -> None:
    """Torn, wrong or newer files: the error names the file."""
    run = make_run()
    (run / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        read(run)


def test_files_of_two_runs_are_not_mixed(make_run: Callable[..., Path], parts: dict[str, Any]) -> None:
    """A result that was copied from elsewhere is found out."""
    run, other = make_run("a"), make_run("b", m=parts["manifest"](run_id="other"))
    (run / "result.json").write_bytes((other / "result.json").read_bytes())
    with pytest.raises(UsageError, match="belong to two runs"):
        read(run)


def test_a_torn_trace_is_read_up_to_the_tear(make_run: Callable[..., Path]) -> None:
    """The last line of a killed run may be half a line."""
    run = make_run()
    path = run / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert sum(1 for _ in read(run).events()) == 3 * 350
