"""The application: log -> guard -> inference -> routes; each kind of route is a module of its own.

Every error, the framework's own included, is `{"error": "sentence"}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from mlforhpc.core.errors import MLforHPCError
from mlforhpc.server import docs, events, jobs, metrics, openapi, page, protocol, records, status
from mlforhpc.server.guard import Guard, Trust
from mlforhpc.server.infer import Infer
from mlforhpc.server.refusals import Refused, body, refusal
from mlforhpc.server.service import Service

_MODULES = (protocol, records, jobs, events, status, page, metrics, openapi, docs)
ROUTES: Sequence[Callable[[Service], list[BaseRoute]]] = tuple(module.routes for module in _MODULES)


def application(service: Service, trust: Trust) -> ASGIApp:
    """All that the server answers."""

    def lifespan(app: Starlette) -> AbstractAsyncContextManager[None]:
        return service.running()

    app = Starlette(
        routes=[route for routes in ROUTES for route in routes(service)],
        exception_handlers={HTTPException: _framework, MLforHPCError: _ours, Exception: _ours},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return service.log.wrap(Guard(Infer(app, service), trust=trust, limits=service.limits))


async def _ours(request: Request, error: Exception) -> Response:
    refused = refusal(error)
    return Response(body(str(refused)), status_code=refused.status, headers=refused.headers, media_type="application/json")


async def _framework(request: Request, error: Exception) -> Response:
    """404 and 405 of the router."""
    assert isinstance(error, HTTPException)
    sentence = error.detail
    if error.status_code == 404:
        sentence = f"There is nothing at {request.url.path}; /docs tells what there is."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        sentence = f"{request.method} is not what {request.url.path} takes" + (f"; it takes {allowed}." if allowed else ".")
    return await _ours(request, Refused(error.status_code, sentence, headers=error.headers))
