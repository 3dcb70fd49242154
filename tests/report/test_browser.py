"""The report in a real browser: no errors, no requests, fits a phone, follows the theme.

python tests/report/test_browser.py REPORT PNG [WIDTH] [dark] takes a picture. Chromium is spoken to over its pipe
(DevTools protocol, JSON messages that end in NUL), which needs no websocket package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage --remote-debugging-pipe --hide-scrollbars"
)


class Browser:
    """One tab of a headless Chromium."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        shell = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        command = ["bash", "-c", shell, "bash", CHROMIUM or "", *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._id, self.events = b"", 0, []
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result; events that come in between are kept."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._id:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Load a file at a width and in a theme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, *, top: int = 0, height: int | None = None) -> bytes:
        """PNG of the whole page, or of a part of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"], "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def close(self) -> None:
        """End it and wait."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise RuntimeError("Chromium ended.")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; install it with: apt-get install chromium")
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture
def report(make_run: Callable[..., Path], parts: dict[str, Callable[..., Any]], tmp_path: Path) -> Path:
    """A report of two runs."""
    from mlforhpc.report import write_report

    runs = [make_run("a"), make_run("b", m=parts["manifest"](run_id="b", seed=1), r=parts["result"](valid=False, seed=1))]
    return write_report(runs, tmp_path / "report.html")


def test_the_page_loads_nothing_and_logs_no_error(browser: Browser, report: Path) -> None:
    """No request but the file itself (data: is no request), nothing in the console, no exception."""
    browser.open(report, width=1400)
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [report.resolve().as_uri()]
    assert not [e for e in browser.events if e.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")]


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_the_page_is_no_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    """Nothing makes the page scroll sideways; figures scale, wide tables scroll in their own box."""
    browser.open(report, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("Math.max(...[...document.querySelectorAll('.panel svg')].map(s => s.getBoundingClientRect().right))") <= width


def test_the_themes_differ_and_text_stays_legible(browser: Browser, report: Path) -> None:
    """Light and dark have other backgrounds, and figures' text takes the theme's ink."""
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.panel svg text')).fill]"
    browser.open(report, width=1400)
    light = browser.evaluate(look)
    browser.open(report, width=1400, dark=True)
    dark = browser.evaluate(look)
    assert light[0] != dark[0] and light[1] != dark[1]


def test_the_picture_is_not_empty(browser: Browser, report: Path) -> None:
    """A picture of the page holds more than a plain area would."""
    browser.open(report, width=1400)
    assert len(browser.screenshot(height=2000)) > 50_000


def main(path: Path, target: Path, width: int = 1400, dark: bool = False) -> None:
    """Pictures of a report, at most 2000 px high each."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        browser.open(path, width=width, dark=dark)
        height = int(browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"])
        step = 2000
        for index, top in enumerate(range(0, height, step)):
            target.with_stem(f"{target.stem}-{index}").write_bytes(browser.screenshot(top=top, height=min(step, height - top)))
        sys.stdout.write(f"{height} px, scrollWidth {browser.evaluate('document.documentElement.scrollWidth')}\n")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1400, "dark" in sys.argv)
