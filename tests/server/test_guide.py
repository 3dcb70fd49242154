"""The guide's files and scripts give what it shows, against a server that its own command starts."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serve.md"


def test_the_guide_s_scripts_give_what_it_shows(tmp_path):
    """Its two files, its command, its two clients, in their order; only the port is another."""
    pytest.importorskip("tritonclient.http")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    text = GUIDE.read_text(encoding="utf-8").replace("8000", port)
    blocks = re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.S)
    assert [name for name, _, _ in blocks] == ["beam.py", "service.toml", "ask.py", "plain.py"]
    for name, content, _ in blocks:
        (tmp_path / name).write_text(content)
    (command, said) = re.findall(r"\$ mlforhpc (serve --config .*?)\n(.*?)\n```", text, re.S)[0]
    words = [sys.executable, "-m", "mlforhpc", *command.split()]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and server.stdout.readline().strip() == said
            for name, _, shown in blocks[2:]:
                done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, done.stderr
                assert done.stdout == shown, name
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 75
