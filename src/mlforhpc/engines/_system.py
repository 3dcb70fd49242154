"""Another system, as far as its processes run on this machine: a keeper, the gateway below it, and what that starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import mlforhpc
from mlforhpc.engines import _keeper
from mlforhpc.engines._threads import environment

_START = "import sys; sys.path.insert(0, sys.argv[1]); from mlforhpc.engines._gateway import main; main()"
_ROOT = str(Path(mlforhpc.__file__).parent.parent)
_LAST_WORDS = 12


class System:
    """To be started (and started again) with `start`.

    Args:
        launcher: words before the gateway's command.
        log: file for what all of it prints.
        driver: "host:port" of the driver's door.
        token: for the door.
    """

    def __init__(self, launcher: Sequence[str], log: Path, driver: str, token: str) -> None:
        self._launcher = launcher
        self._log = log
        self._environment = {
            **os.environ,
            **environment(1),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",  # parsl and MPI look there
            "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), _ROOT))),
            "MLFORHPC_DRIVER": driver,
            "MLFORHPC_TOKEN": token,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the keeper, which starts the gateway.

        Raises:
            OSError: it cannot be started.
        """
        lifeline, self._lifeline = os.pipe()
        gateway = self._launcher or (sys.executable,)
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", _keeper.__file__, str(lifeline), *gateway, "-c", _START, _ROOT],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lifeline,),
                    process_group=0,
                    env=self._environment,
                )
        finally:
            os.close(lifeline)

    def stop(self, grace_s: float) -> None:
        """Give it `grace_s` to end by itself, then have the keeper end everything; twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        os.close(self._lifeline)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def running(self) -> bool:
        """Whether the keeper runs."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """The end of what it printed."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(line for line in lines[-_LAST_WORDS:] if line.strip())
