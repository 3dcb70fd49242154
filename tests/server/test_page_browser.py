"""The pages in a real browser, while requests arrive: no error, nothing from elsewhere, live, no wider than a phone."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

_SPEC = importlib.util.spec_from_file_location("report_browser", Path(__file__).parents[1] / "report" / "test_browser.py")
_BROWSER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BROWSER)
browser = _BROWSER.browser
_LOUD = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


def show(browser, url, *, width=1280, dark=False):
    """Load an address at a width and in a theme."""
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
    browser.events.clear()
    browser.call("Page.navigate", url=url)
    while not any(event.get("method") == "Page.loadEventFired" for event in browser.events):
        browser.events.append(browser._receive())


def until(browser, expression, seconds=8.0):
    """When a JavaScript expression holds."""
    end = time.monotonic() + seconds
    while not browser.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.1)


def test_the_page_grows_while_requests_arrive(running, browser):
    """It says live; the number of answers follows; what the reader opened stays open."""
    named, _ = running.points("borehole", 5, seed=41)
    running.infer("borehole", named)
    show(browser, running.address)
    until(browser, "document.querySelector('.live.on') !== null")
    browser.evaluate("document.querySelector('details').open = true")
    heading = "document.querySelector('[data-block=borehole-answers] h3').textContent"
    before = browser.evaluate(heading)
    running.infer("borehole", named)
    until(browser, f"{heading} !== {before!r}")
    total = sum(running.service.onlines["borehole"].status().answers.values())
    until(browser, f"{heading}.startsWith('{total:,} ')")
    assert browser.evaluate("document.querySelector('details').open")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_loaded_from_elsewhere_and_nothing_is_complained_about(running, browser, path):
    """Requests go to this server alone; console and content policy are silent."""
    show(browser, running.address + path)
    time.sleep(1.5)
    browser.evaluate("1")
    asked = [event["params"]["request"]["url"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
    assert asked and all(url.startswith((running.address, "data:")) for url in asked)
    assert not [event for event in browser.events if event.get("method") in _LOUD]


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_pages_are_no_wider_than_the_screen(running, browser, path, width):
    """Nothing scrolls sideways, opened parts included."""
    show(browser, running.address + path, width=width)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_themes_differ(running, browser):
    """Background and ink follow the reader's preference."""
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.growth text')).fill]"
    show(browser, running.address)
    light = browser.evaluate(look)
    show(browser, running.address, dark=True)
    dark = browser.evaluate(look)
    assert light[0] != dark[0] and light[1] != dark[1]


def test_without_scripts_it_is_a_snapshot(running, browser):
    """Everything is there, and it says from when."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(browser, running.address)
        page = browser.call("DOM.getOuterHTML", nodeId=browser.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
        assert "snapshot of" in page and "<h2>borehole</h2>" in page
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
