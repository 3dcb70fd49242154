"""Servers that answer one constant, for `server_cost.py`: on this package's stack and guard, and with FastAPI and pydantic.

python _constant_servers.py constant|fastapi REPLY PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from mlforhpc.server.connections import within
from mlforhpc.server.guard import Guard, Trust
from mlforhpc.server.service import Limits

PATH = "/v2/models/{model}/infer"


class Constant:
    """A raw route: reads the body, sends the bytes."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body", False):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._reply})


def constant(reply: bytes) -> Any:
    trust = Trust(hosts=frozenset(("localhost", "127.0.0.1", "::1")))
    return Starlette(routes=[Route(PATH, Constant(reply), methods=["POST"])], middleware=[Middleware(Guard, trust=trust, limits=Limits())])


def fastapi(reply: bytes) -> Any:
    """Typed request and typed answer, as its documentation has it."""
    from fastapi import FastAPI
    from pydantic import BaseModel, ConfigDict

    class Plain(BaseModel):
        model_config = ConfigDict(protected_namespaces=())

    class Tensor(Plain):
        name: str
        shape: list[int]
        datatype: str
        data: list[float] | list[str] | list[float | None]

    class Request(Plain):
        inputs: list[Tensor]

    class Answer(Plain):
        model_name: str
        model_version: str
        outputs: list[Tensor]

    app = FastAPI()
    content = Answer(**json.loads(reply))

    async def infer(model: str, request: Request) -> Answer:
        return content

    infer.__annotations__.update(request=Request, **{"return": Answer})
    app.post(PATH)(infer)
    return app


if __name__ == "__main__":
    kind, file, port = sys.argv[1:]
    app = {"constant": constant, "fastapi": fastapi}[kind](Path(file).read_bytes())
    options: dict[str, Any] = {"server_header": False, "proxy_headers": False, "timeout_keep_alive": 75, "ws": "none"}
    uvicorn.run(
        app,
        port=int(port),
        http=within(1024) if kind == "constant" else "httptools",
        loop="uvloop",
        access_log=False,
        log_config=None,
        **options,
    )
