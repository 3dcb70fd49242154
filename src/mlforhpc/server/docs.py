"""`/docs`: the OpenAPI document as a page to read, without a script and without anything from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mlforhpc.server.openapi import document
from mlforhpc.server.page import html

if TYPE_CHECKING:
    from mlforhpc.server.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """One route; rendered once, when it is first asked for."""
    rendered: list[Response] = []

    async def docs(request: Request) -> Response:
        if not rendered:
            found = document(service)
            said = {"info": found["info"], "groups": _groups(found), "secured": bool(found["security"]), "schemas": _schemas(found)}
            rendered.append(html("docs.html.j2", **said))
        return rendered[0]

    return [Route("/docs", docs, methods=["GET"])]


def _groups(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Heading -> operations; what differs only in `/versions/{version}` is told once."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in found["paths"].items():
        if "/versions/" in path:
            continue
        for method, operation in methods.items():
            versioned = path.replace("{model}", "{model}/versions/{version}")
            groups.setdefault(operation["tags"][0], []).append(
                {
                    "method": method,
                    "path": path,
                    "versioned": versioned if versioned != path and versioned in found["paths"] else "",
                    "summary": operation["summary"],
                    "text": operation.get("description", ""),
                    "parameters": operation["parameters"],
                    "body": _name(operation.get("requestBody", {})),
                    "examples": _examples(operation.get("requestBody", {})),
                    "responses": {code: (answer["description"], _name(answer)) for code, answer in operation["responses"].items()},
                }
            )
    return groups


def _name(content: dict[str, Any]) -> str:
    """Name of the schema of a body."""
    for media in content.get("content", {}).values():
        return str(media.get("schema", {}).get("$ref", "")).rpartition("/")[2]
    return ""


def _examples(body: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, JSON) of each example."""
    examples = {} if not body else next(iter(body["content"].values())).get("examples", {})
    return [(example["summary"], _json(example["value"])) for example in examples.values()]


def _schemas(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, first paragraph of the description, JSON) of each schema."""
    schemas = found["components"]["schemas"]
    return [(name, schema.get("description", "").partition("\n\n")[0], _json(schema)) for name, schema in sorted(schemas.items())]


def _json(value: object) -> str:
    """Indented, with short lists and objects on one line."""
    return "\n".join(_lines(value, 0))


def _lines(value: object, depth: int) -> list[str]:
    short = orjson.dumps(value).decode()
    if len(short) + 2 * depth <= 96 or not isinstance(value, dict | list) or not value:
        return [short.replace('":', '": ').replace(',"', ', "')]
    items = value.items() if isinstance(value, dict) else ((None, each) for each in value)
    lines = []
    for key, each in items:
        inner = _lines(each, depth + 1)
        if key is not None:
            inner[0] = f'"{key}": {inner[0]}'
        inner[-1] += ","
        lines += ["  " + line for line in inner]
    lines[-1] = lines[-1].removesuffix(",")
    first, last = "{}" if isinstance(value, dict) else "[]"
    return [first, *lines, last]
