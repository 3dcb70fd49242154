"""JSON schemas of the inference protocol's bodies, and a request for each served simulation that is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from mlforhpc.core.space import Choice, Integer, Parameter, bounds
from mlforhpc.server.models import LINEAGE, Model

Schema: TypeAlias = dict[str, Any]
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_DURATION: Schema = {"type": "object", "properties": {"count": _COUNT, "ns": _COUNT}, "required": ["count", "ns"]}


def _object(description: str = "", /, **properties: Schema) -> Schema:
    """An object that has all of these."""
    said = {"description": description} if description else {}
    return {**said, "type": "object", "properties": properties, "required": list(properties)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


_TENSOR = _object(name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer"}))
WHOLE: Schema = {"type": "integer", "minimum": 1, "maximum": 9_999_999_999_999_999}
PAGE: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
PLACE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
OUTCOME: Schema = {"type": "string", "enum": ["ok", "failed", "timed_out"]}
FORMAT: Schema = {"type": "string", "enum": ["csv", "parquet"]}
TEXT_SCHEMA: Schema = {"type": "string"}
_PARAMETERS: Schema = {"type": ["object", "null"]}
_SIDES = {"anyOf": [{"type": "number"}, {"type": "array"}, {"type": "null"}]}
PLAIN: dict[str, Schema] = {
    "Any": {"type": "object"},
    "Error": _object("Every error: one sentence that says what was wanted, what was found and the way out.", error=_TEXT),
    "Accepted": {"type": "object"},
    "ServerMetadata": _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "Live": _object(live={"type": "boolean"}),
    "Ready": _object(ready={"type": "boolean"}),
    "ModelReady": _object(name=_TEXT, ready={"type": "boolean"}),
    "ModelMetadata": _object(name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(_TENSOR), outputs=_list(_TENSOR)),
    "ModelConfiguration": _object(name=_TEXT, platform=_TEXT, max_batch_size=_COUNT, parameters={"type": "object"}),
    "ModelStatistics": _object(
        model_stats=_list(
            _object(
                name=_TEXT,
                version=_TEXT,
                last_inference=_COUNT,
                inference_count=_COUNT,
                execution_count=_COUNT,
                inference_stats={"type": "object", "additionalProperties": _DURATION},
            )
        )
    ),
    "Request": {
        "description": "An inference of any number of points, as the protocol has it; tensors.Request decodes it.",
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "inputs": _list({"$ref": "#/components/schemas/Tensor"}),
            "outputs": {"anyOf": [_list({"$ref": "#/components/schemas/Wish"}), {"type": "null"}]},
            "parameters": _PARAMETERS,
        },
        "required": ["inputs"],
    },
    "Tensor": {
        "description": "An input: its data here, or behind the JSON if `parameters` has a `binary_data_size`.",
        "type": "object",
        "properties": {
            "name": _TEXT,
            "shape": _list({"type": "integer", "minimum": 0, "maximum": 2**62}),
            "datatype": _TEXT,
            "data": {},
            "parameters": _PARAMETERS,
        },
        "required": ["name", "shape", "datatype"],
    },
    "Wish": {
        "description": "An output that is asked for.",
        "type": "object",
        "properties": {"name": _TEXT, "parameters": _PARAMETERS},
        "required": ["name"],
    },
    "RepositoryIndexRequest": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    "RepositoryIndex": _list(_object(name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT)),
    "InferResponse": _object(
        "Elements row by row, flat; of a binary output there is the size in place of the data.",
        model_name=_TEXT,
        model_version=_TEXT,
        outputs=_list(_object(name=_TEXT, datatype=_TEXT, shape=_list(_COUNT))),
    ),
    "JobResult": _object(
        "An answer a point, in order; one without has `error` and `outcome`.",
        id=_TEXT,
        model=_TEXT,
        answers=_list(
            {
                "type": "object",
                "properties": {
                    "x": {"type": "object"},
                    "source": {"enum": ["surrogate", "simulation", "store"]},
                    "rho": {"type": ["number", "null"]},
                    "surrogate_version": _TEXT,
                    "key": _TEXT,
                    "kept": {"type": "boolean"},
                    "outputs": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _SIDES}},
                    "error": _TEXT,
                    "outcome": _TEXT,
                },
                "required": ["x"],
            }
        ),
    ),
}


def infer_schemas(models: Mapping[str, Model]) -> dict[str, Schema]:
    """`InferRequest`: a request for one point of each model, or whatever else the protocol allows."""
    points = {f"Point.{name}": _point(model) for name, model in models.items()}
    anything = {"$ref": "#/components/schemas/Request"}
    return {**points, "InferRequest": {"anyOf": [*({"$ref": f"#/components/schemas/{name}"} for name in points), anything]}}


def infer_examples(models: Mapping[str, Model]) -> dict[str, Schema]:
    """For each model a request that it answers, of the point in the middle of its space, and one with what one may ask for besides."""
    found: dict[str, Schema] = {}
    for name, model in models.items():
        space = model.online.simulation.space
        middle = space.point(space.decode([[0.5] * len(space)])[0])
        inputs = [{"name": p, "datatype": model.inputs[p].datatype, "shape": [1, 1], "data": [value]} for p, value in middle.items()]
        output = model.online.simulation.outputs[0].name
        some = [{"name": output}, *({"name": each} for each in LINEAGE)]
        found[name] = {"summary": f"{name}: the middle of its space", "value": {"inputs": inputs}}
        found[f"{name}-some"] = {
            "summary": f"{name}: one output and its lineage",
            "value": {"id": "1", "inputs": inputs, "outputs": some, "parameters": {"source": "auto"}},
        }
    return found


def job_examples(models: Mapping[str, Model]) -> dict[str, Schema]:
    """For each model a job of one point."""
    found = {}
    for name, model in models.items():
        space = model.online.simulation.space
        found[name] = {"summary": name, "value": {"model": name, "x": space.point(space.decode([[0.5] * len(space)])[0]), "source": "auto"}}
    return found


def _point(model: Model) -> Schema:
    """A request for one point inside the space."""
    parameters = model.online.simulation.space.parameters
    tensors = [_tensor(name, model.inputs[name].datatype, parameter) for name, parameter in parameters.items()]
    inputs = {"type": "array", "prefixItems": tensors, "items": False, "minItems": len(tensors), "maxItems": len(tensors)}
    return {**_object(f"One point of {model.name}.", inputs=inputs), "additionalProperties": False}


def _tensor(name: str, datatype: str, parameter: Parameter) -> Schema:
    data = {"type": "array", "items": _value(parameter), "minItems": 1, "maxItems": 1}
    shape = {"const": [1, 1]}
    return {**_object(name={"const": name}, datatype={"const": datatype}, shape=shape, data=data), "additionalProperties": False}


def _value(parameter: Parameter) -> Schema:
    if isinstance(parameter, Choice):
        return {"enum": list(parameter.options)}
    low, high = bounds(parameter)
    unit = {} if parameter.unit == "1" else {"description": f"in {parameter.unit}"}
    if isinstance(parameter, Integer):
        return {**unit, "type": "integer", "minimum": int(low), "maximum": int(high)}
    return {**unit, "type": "number", "minimum": low, "maximum": high}
