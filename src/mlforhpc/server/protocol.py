"""What the Open Inference Protocol v2 tells about the server and its models: metadata, readiness, configuration, statistics, repository.

Success is exactly 200. Protocol and extensions: github.com/open-inference-protocol, and the HTTP extensions of Triton that its clients use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version as version_of
from typing import Any

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mlforhpc.core.errors import UsageError
from mlforhpc.server.models import PLATFORM, Model
from mlforhpc.server.refusals import Refused
from mlforhpc.server.service import Service
from mlforhpc.server.tensors import Wanted

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics", "parameters")
_CONFIG_TYPES = {"FP64": "TYPE_FP64", "INT64": "TYPE_INT64", "BYTES": "TYPE_STRING", "BOOL": "TYPE_BOOL"}


class _Index(msgspec.Struct):
    """The body of a request for the repository's index."""

    ready: bool = False


def answered(content: object) -> Response:
    """JSON."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def routes(service: Service) -> list[BaseRoute]:
    """See the file's docstring."""
    own = {"name": "mlforhpc", "version": version_of("mlforhpc"), "extensions": EXTENSIONS}

    async def server(request: Request) -> Response:
        return answered(own)

    async def live(request: Request) -> Response:
        return answered({"live": True})

    async def ready(request: Request) -> Response:
        return answered({"ready": True})

    async def index(request: Request) -> Response:
        body = await request.body()
        try:
            msgspec.json.decode(body or b"{}", type=_Index)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f'The body must be empty or JSON such as {{"ready": true}}: {error}.') from None
        return answered([{"name": m.name, "version": m.version, "state": "READY", "reason": ""} for m in service.models.values()])

    async def change(request: Request) -> Response:
        service.model(request.path_params["model"])
        raise Refused(
            400, "What is served is said when the server starts, in its configuration; it cannot be loaded or unloaded by request."
        )

    async def every(request: Request) -> Response:
        return answered({"model_stats": [_statistics(model) for model in service.models.values()]})

    def of_model(tell: Callable[[Model], Mapping[str, Any]]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            model = service.model(request.path_params["model"])
            if "version" in request.path_params:
                model.check_version(request.path_params["version"])
            return answered(tell(model))

        return endpoint

    found: list[BaseRoute] = [
        Route("/v2", server),
        Route("/v2/", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/models/stats", every),
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", change, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", change, methods=["POST"]),
    ]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            Route(model, of_model(_metadata)),
            Route(f"{model}/ready", of_model(lambda m: {"name": m.name, "ready": True})),
            Route(f"{model}/config", of_model(_configuration)),
            Route(f"{model}/stats", of_model(lambda m: {"model_stats": [_statistics(m)]})),
        ]
    return found


def _metadata(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [model.version] if model.version else [],
        "platform": PLATFORM,
        "inputs": [{"name": want.name, "datatype": want.datatype, "shape": [-1, 1]} for want in model.inputs.values()],
        "outputs": [{"name": part.name, "datatype": part.datatype, "shape": [-1, *part.shape]} for part in model.outputs.values()],
    }


def _configuration(model: Model) -> dict[str, Any]:
    """As Triton tells it; what is ours stands in `parameters`."""
    status = model.online.status()
    ours = {
        "simulation_version": status.simulation_version,
        "surrogate_version": status.surrogate_version,
        "tolerance": f"{status.tolerance:g}",
        "delta": f"{status.delta:g}",
        **{f"parameter.{name}": _described(model, want) for name, want in model.inputs.items()},
    }
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": 0,
        "input": [{"name": w.name, "data_type": _CONFIG_TYPES[w.datatype], "dims": [-1, 1]} for w in model.inputs.values()],
        "output": [{"name": p.name, "data_type": _CONFIG_TYPES[p.datatype], "dims": [-1, *p.shape]} for p in model.outputs.values()],
        "parameters": {name: {"string_value": value} for name, value in ours.items()},
    }


def _described(model: Model, want: Wanted) -> str:
    """Bounds and unit, or options."""
    parameter = model.online.simulation.space.parameters[want.name]
    if want.options is not None:
        return ", ".join(want.options)
    unit = "" if parameter.unit == "1" else f" {parameter.unit}"
    return f"[{parameter.low:g}, {parameter.high:g}]{unit}"  # type: ignore[union-attr]  # what has no options has bounds


def _statistics(model: Model) -> dict[str, Any]:
    s = model.stats
    nothing = {"count": 0, "ns": 0}
    success = {"count": s.executions, "ns": s.success_ns}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": s.last_unix_ms,
        "inference_count": s.inferences,
        "execution_count": s.executions,
        "inference_stats": {
            "success": success,
            "fail": {"count": s.failures, "ns": s.failure_ns},
            "queue": nothing,
            "compute_input": nothing,
            "compute_infer": success,
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }
