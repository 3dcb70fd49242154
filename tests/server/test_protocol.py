"""What the protocol asks of a server besides inference: success is exactly 200, and every error is JSON with a sentence."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/v2/models/plate", "/v2/models/plate/ready"]
)
def test_what_is_asked_with_get(running, path):
    """200 and JSON, with and without the slash; HEAD too."""
    assert running.ask("GET", path)[0] == 200
    assert running.call("HEAD", path)[0] == 200


@pytest.mark.parametrize("body", [None, b"", b"{}", b'{"ready": true}'])
def test_the_index_takes_an_empty_body(running, body):
    """As clients send it."""
    status, index = running.ask("POST", "/v2/repository/index", body)
    assert status == 200 and [model["name"] for model in index] == ["borehole", "plate"]


def test_an_index_of_something_else_is_refused(running):
    """400 with what may stand there."""
    status, said = running.ask("POST", "/v2/repository/index", b"[1]")
    assert status == 400 and "must be empty" in said["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v3", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/nothing", 404),
        ("GET", "/v2/models/..%2f..%2fetc/config", 404),
        ("GET", "/v2/models/%2e%2e/config", 404),
        ("GET", "/v2/models/plate/versions/9", 404),
        ("GET", "/v2/models/%00/ready", 404),
        ("GET", "/v2/models/%ff%fe/ready", 404),
        ("GET", "/v2/models/plate/infer", 405),
        ("PUT", "/v2/models/plate/infer", 405),
        ("DELETE", "/v2", 405),
        ("POST", "/v2", 405),
        ("POST", "/v2/models/nothing/infer", 404),
        ("POST", "/v2/repository/models/plate/load", 400),
        ("POST", "/v2/repository/models/plate/unload", 400),
        ("POST", "/v2/repository/models/nothing/load", 404),
    ],
)
def test_every_error_is_a_sentence(running, method, path, status):
    """The framework's own included; a path leads nowhere but to a name."""
    found, said = running.ask(method, path)
    assert found == status and isinstance(said["error"], str) and said["error"].endswith("."), said


def test_an_error_is_short_whatever_was_asked(running):
    """A name of 5,000 letters does not come back whole."""
    status, said = running.ask("GET", "/v2/models/" + "x" * 5_000)
    assert status == 404 and len(said["error"]) < 700
