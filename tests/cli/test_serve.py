"""The command `serve`: what it refuses before anything is made. What it does is in tests/server/test_process.py."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Nothing to serve was named"),
        (["boreholes"], "Did you mean 'borehole'?"),
        (["borehole", "--tolerance", "0"], "--tolerance"),
        (["borehole", "--port", "70000"], "--port"),
        (["borehole", "--host", "0.0.0.0"], "wants a token"),
        (["borehole", "--config", "nothing.toml"], "cannot be opened"),
        (["borehole", "--certificate", "nothing.pem"], "TLS needs two files"),
        (["borehole", "--engine", "nothing"], "no engine named 'nothing'"),
    ],
)
def test_bad_usage_is_one_sentence_and_leaves_nothing(call, monkeypatch, tmp_path, words, sentence):
    """Exit code 2; no folder is made."""
    monkeypatch.delenv("MLFORHPC_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    done = call("serve", *words)
    assert done.code == 2 and sentence in done.said
    assert not Path("mlforhpc-service").exists()
