"""`/v1/status` and `/v1/models/{name}/learn`: how each simulation does, as JSON, and a request to learn now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

if TYPE_CHECKING:
    from mlforhpc.server.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """Two routes."""

    async def status(request: Request) -> Response:
        statuses = {name: online.status() for name, online in service.onlines.items()}
        return Response(msgspec.json.encode(statuses), media_type="application/json")

    async def learn(request: Request) -> Response:
        service.model(request.path_params["model"]).online.learn()
        return Response(b"{}", 202, media_type="application/json")

    return [Route("/v1/status", status, methods=["GET"]), Route("/v1/models/{model}/learn", learn, methods=["POST"])]
