"""A saved surrogate, whatever learner fitted it: the file names its learner, whose `load` reads it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Surrogate
from mlforhpc.core.names import load as load_name
from mlforhpc.learners._saved import read

IN_A_RUN = Path("artifacts") / "surrogate.safetensors"


def load(path: str | Path) -> Surrogate:
    """The surrogate in a .safetensors file, or of a run folder; its content is verified.

    Raises:
        UsageError: no such file or run, no surrogate, or one of a learner that is not known here (UnknownName).
        StoreDamaged: it was changed after it was saved.
    """
    file = file_of(Path(path))
    loaded: Surrogate = load_name("learners", learner_of(file)).load(file)
    return loaded


def file_of(path: Path) -> Path:
    """The surrogate's file: itself, or that of a run folder."""
    if not path.is_dir():
        return path
    if not (path / IN_A_RUN).is_file():
        raise UsageError(f"'{path}' holds no surrogate: there is no {IN_A_RUN} in it. Give a .safetensors file, or a run that has ended.")
    return path / IN_A_RUN


def learner_of(file: Path) -> str:
    """The name of the learner whose surrogate a file holds; nothing of it is believed before `load` has compared its hash."""
    try:
        with safe_open(file, framework="numpy") as opened:
            return str(json.loads((opened.metadata() or {})["mlforhpc"])["metadata"]["learner"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        read(file, "")  # raises the sentence that fits
        raise
