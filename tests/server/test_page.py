"""The status page without a browser: what it says, that nothing gets through it, that it loads nothing."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest

from mlforhpc.server.chart import growth_svg
from mlforhpc.server.page_view import model_view

EVIL = "<script>alert(1)</script>\"'"


def test_it_shows_what_is_served_and_how_it_does(running):
    """Names, versions, promise, figures, sources: readable without a script."""
    named, _ = running.points("borehole", 20, seed=8)
    running.infer("borehole", named)
    status, headers, said = running.call("GET", "/")
    page, now = said.decode(), running.service.onlines["borehole"].status()
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert "<h2>borehole</h2>" in page and "<h2>plate</h2>" in page
    assert now.surrogate_version[:12] in page
    assert "At most 10 % of the surrogate&#39;s answers are off by more than 10 %" in page
    assert "the surrogate:" in page and "Recent audits" in page and '<path class="gain"' in page


def test_the_content_policy_allows_what_stands_in_the_page_and_no_more(running):
    """Style and script by their hashes, connections to us, nothing else; no inline style or handler, which it would refuse."""
    _, headers, said = running.call("GET", "/")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'" and policy["connect-src"] == "'self'"
    assert all(policy[name].startswith("'sha256-") and " " not in policy[name] for name in ("style-src", "script-src"))
    page = said.decode()
    assert not re.search(r"\s(style|on\w+)=", page)
    assert all(link.startswith(("/", "#", "data:")) for link in re.findall(r'(?:href|src|action)="([^"]*)"', page))
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_texts_of_simulations_are_escaped(running):
    """A name, version, parameter or event that holds markup is shown, not obeyed."""
    from mlforhpc.server.page import _environment

    status = dataclasses.replace(
        running.service.onlines["borehole"].status(),
        simulation=EVIL, simulation_version=EVIL, last_learned=EVIL, surrogate_version=EVIL,
        events=((0.0, EVIL),), recent_audits=((0.0, {EVIL: EVIL}, 0.5, 2.0, True, EVIL),),
        growth=((10, 1.0, 1.0), (20, 2.0, 1.5)),
    )  # fmt: skip
    page = _environment().get_template("status.html.j2").render(models=[model_view(status)], overall=EVIL)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 6
    assert "broken" in page


@pytest.mark.parametrize(
    "change, tone, word",
    [
        ({"answers": {"surrogate": 0}, "broken_limit": None}, "open", "no claim yet"),
        ({"answers": {"surrogate": 90}, "broken_limit": 0.05, "audits": 40, "broken": 0}, "good", "kept"),
        ({"answers": {"surrogate": 90}, "broken_limit": 0.6, "audits": 4, "broken": 0}, "open", "not shown yet"),
        ({"answers": {"surrogate": 90}, "broken_limit": 0.5, "audits": 40, "broken": 8}, "bad", "at risk"),
    ],
)
def test_the_badge_says_how_the_promise_stands(running, change, tone, word):
    """Good only if the upper limit is at most delta; bad if the audits found more than delta."""
    view = model_view(dataclasses.replace(running.service.onlines["borehole"].status(), delta=0.1, **change))
    assert (view.tone, view.badge) == (tone, word)


def test_the_figure_has_logarithmic_axes_and_skips_what_they_cannot_show():
    """Equal factors are equal distances; values that are not positive, or not known, are left out."""
    svg = str(growth_svg([(1, None, 0.0), (10, 0.1, 1.0), (100, 1.0, float("inf")), (1000, 10.0, 10.0)], title="a < b"))
    (path,) = re.findall(r'<path class="speedup" d="M([^"]+)"', svg)
    points = [tuple(map(float, point.split())) for point in path.split("L")]
    assert len(points) == 3
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.2) and points[2][1] < points[0][1]
    assert "a &lt; b" in svg and len(re.findall(r'<path class="gain" d="M([^"]+)"', svg)[0].split("L")) == 2


def test_without_two_points_there_is_a_sentence_instead():
    """No axis without a line."""
    assert "<svg" not in growth_svg([(5, 1.0, 1.0)], title="t")


def test_everybody_who_looks_shares_one_rendering(running, monkeypatch):
    """The changing part is rendered at most about once a second, however many ask."""
    calls = []
    online = running.service.onlines["plate"]
    status = type(online).status
    monkeypatch.setattr(type(online), "status", lambda self: calls.append(1) or status(self))
    time.sleep(1.0)
    began = time.monotonic()
    for _ in range(10):
        assert running.call("GET", "/status.html")[0] == 200
    assert time.monotonic() - began < 0.8 and len(calls) <= 2
