"""`/openapi.json`: what the service answers, as OpenAPI 3.1, from the types that requests are decoded with and the simulations served.

Names of models are an enumeration, and each has a request that is answered; so tools that read the document reach the answers, not only
the refusals. Source: spec.openapis.org/oas/v3.1.1.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mlforhpc.scenarios.online import Status
from mlforhpc.server.job import JobView
from mlforhpc.server.jobs import JobPage, JobRequest
from mlforhpc.server.openapi_paths import ALWAYS, HTML, JSON, OPERATIONS, REFUSALS, TEXT, WITH_BODY, Operation
from mlforhpc.server.openapi_schemas import PLAIN, Schema, infer_examples, infer_schemas, job_examples

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

_REF = "#/components/schemas/{name}"
_DECODED = (JobRequest, JobView, JobPage, Status)
_JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}


def document(service: Service) -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(service, operation)
    components: dict[str, Any] = {"schemas": _schemas(service)}
    security: list[dict[str, list[str]]] = []
    if service.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}, "browser": {"type": "http", "scheme": "basic"}}
        security = [{"token": []}, {"browser": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLforHPC service",
            "version": version_of("mlforhpc"),
            "description": _description(service),
        },
        "servers": [{"url": "/"}],
        "security": security,
        "paths": paths,
        "components": components,
    }


def routes(service: Service) -> list[BaseRoute]:
    """One route; the document does not change while the service runs."""
    content = orjson.dumps(document(service))

    async def openapi(request: HttpRequest) -> Response:
        return Response(content, media_type="application/json")

    return [Route("/openapi.json", openapi, methods=["GET"])]


def _description(service: Service) -> str:
    limits = service.limits
    return (
        "A surrogate answers where it is sure, the simulation everywhere else; every answer is kept, and learning happens by itself. "
        f"A request has at most {limits.body_bytes:,} bytes and {limits.rows:,} points, an answer at most {limits.elements:,} numbers."
    )


def _schemas(service: Service) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components(_DECODED, ref_template=_REF)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    statuses = {"type": "object", "additionalProperties": {"$ref": _REF.format(name="Status")}}
    return {**components, **PLAIN, **infer_schemas(service.models), "Statuses": statuses}


def _operation(service: Service, operation: Operation) -> dict[str, Any]:
    name = "".join(part.capitalize() for part in operation.path.replace("{", "").replace("}", "").replace(".", "/").split("/") if part)
    found: dict[str, Any] = {
        "operationId": f"{operation.method}{name or 'Page'}",
        "tags": [operation.group],
        "summary": operation.summary,
        "parameters": _parameters(service, operation),
        "responses": _responses(service, operation),
    }
    if operation.text:
        found["description"] = operation.text
    if operation.body:
        examples = {"InferRequest": infer_examples, "JobRequest": job_examples}.get(operation.body)
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=operation.body)}}
        if examples is not None:
            content["examples"] = examples(service.models)
        found["requestBody"] = {"required": operation.body != "RepositoryIndexRequest", "content": {JSON: content}}
    if operation.path in ("/v2/health/live", "/v2/health/ready"):
        found["security"] = []
    return found


def _parameters(service: Service, operation: Operation) -> list[dict[str, Any]]:
    schemas: dict[str, tuple[Schema, str]] = {
        "model": ({"type": "string", "enum": list(service.models)}, "A simulation that is served."),
        "version": (
            {"type": "string", "minLength": 1, "pattern": "^[^/?#%{}]+$"},
            "Of the surrogate that answers now.",
        ),
        "key": ({"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Of the run."),
        "id": (_JOB_ID, "As `Location` of the submission has it."),
    }
    inside = [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": text}
        for name, (schema, text) in schemas.items()
        if f"{{{name}}}" in operation.path
    ]
    behind = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text} for name, schema, text in operation.query
    ]
    return inside + behind


def _responses(service: Service, operation: Operation) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name=operation.answer)} if operation.answer else {"type": "string"}
    media = {kind: {"schema": schema} if kind in (JSON, TEXT, HTML) else {} for kind in operation.media}
    good: dict[str, Any] = {"description": operation.summary, "content": media}
    if operation.status == 202 and operation.body:
        good["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where the job is."}}
    codes = {*operation.refusals, *ALWAYS, *(WITH_BODY if operation.body else ())}
    if service.token is None:
        codes.discard(401)
    return {str(operation.status): good, **{str(code): _refusal(code) for code in sorted(codes)}}


def _refusal(code: int) -> dict[str, Any]:
    found: dict[str, Any] = {"description": REFUSALS[code], "content": {JSON: {"schema": {"$ref": _REF.format(name="Error")}}}}
    if code == 429:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
    return found
