"""`/`: the status page for people, live, light and dark, of phone width too; a snapshot without scripts. Nothing comes from elsewhere.

The server renders everything; the page's script only fetches the inner part again when an event says that something changed. Style sheet
and script stand in the page, and the content policy names their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from mlforhpc.report import numbers, palette
from mlforhpc.server.page_view import model_view, moment

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

RENDERED_S = 0.9
"""How long a rendered status serves everybody who looks at it."""
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1a5ea3"/>'
    '<path d="M3 12L7 7l3 2 3-5" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)


def routes(service: Service) -> list[BaseRoute]:
    """`/` and the part of it that changes."""
    rendered: tuple[float, Markup] = (float("-inf"), Markup())

    def status() -> Markup:
        nonlocal rendered
        now = time.monotonic()
        if now - rendered[0] > RENDERED_S:
            rendered = now, _status(service)
        return rendered[1]

    async def page(request: Request) -> Response:
        return html("page.html.j2", status=status(), now=f"{moment(time.time())} UTC", script=Markup(text_of("service.js")))

    async def part(request: Request) -> Response:
        return HTMLResponse(status(), headers=HEADERS)

    return [Route("/", page, methods=["GET"]), Route("/status.html", part, methods=["GET"])]


def html(template: str, status_code: int = 200, headers: Mapping[str, str] | None = None, **values: object) -> Response:
    """A page of ours with the headers that all of them have."""
    content = (
        _environment()
        .get_template(template)
        .render(styles=_styles(), icon=f"data:image/svg+xml,{quote(_ICON)}", version=importlib.metadata.version("mlforhpc"), **values)
    )
    return HTMLResponse(content, status_code, {**HEADERS, **(headers or {})})


def text_of(name: str) -> str:
    """A file of the folder `templates`."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _status(service: Service) -> Markup:
    models = [model_view(online.status()) for online in service.onlines.values()]
    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(service.started_unix_s))
    overall = (
        f"{_count(len(models), 'simulation')} on {_count(service.campaign.broker.slots, 'slot')} since {since} UTC"
        f" · {_count(service.jobs.waiting, 'job')} queued or running · {_count(len(service.feed.streams), 'event stream')} open"
    )
    return Markup(_environment().get_template("status.html.j2").render(models=models, overall=overall))


def _count(n: int, noun: str) -> str:
    return f"{numbers.number(n)} {noun}" if n == 1 else f"{numbers.number(n)} {noun}s"


def _code(text: str) -> Markup:
    """The text with what stands between backquotes as code."""
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(text.split("`")))


@cache
def _styles() -> Markup:
    sheet = text_of("service.css").replace("/*LIGHT*/", palette.css(palette.LIGHT)).replace("/*DARK*/", palette.css(palette.DARK))
    return Markup(sheet)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text_of), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(number=numbers.number, percent=numbers.percent, code=_code)
    return environment


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_hash(_styles())}; script-src {_hash(text_of('service.js'))}; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
