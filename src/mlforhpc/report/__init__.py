"""Run folders -> terminal tables and one self-contained HTML file; draws only from result, manifest and trace."""

from mlforhpc.report.html import write_report
from mlforhpc.report.run_folder import RunFolder, read

__all__ = ["RunFolder", "read", "write_report"]
