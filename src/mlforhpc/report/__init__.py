"""Run folders -> terminal tables and one self-contained HTML file; draws only from result, manifest and trace."""

from collections.abc import Sequence
from pathlib import Path

from mlforhpc.report.mllog import write_mllog
from mlforhpc.report.perfetto import write_perfetto
from mlforhpc.report.run_folder import RunFolder, read

__all__ = ["RunFolder", "read", "write_mllog", "write_perfetto", "write_report"]


def write_report(run_folders: Sequence[Path], path: Path) -> Path:
    """Write one HTML file about one run or several; see `mlforhpc.report.html` (matplotlib and jinja2 load only now)."""
    from mlforhpc.report import html

    return html.write_report(run_folders, path)
