"""/openapi.json and /docs: complete, valid, true of the server that publishes them."""

from __future__ import annotations

import re

import jsonschema
import pytest
from starlette.routing import Route

from mlforhpc.server.app import ROUTES
from mlforhpc.server.tensors import Request, Tensor, Wish


@pytest.fixture(scope="module")
def document(running):
    """The description."""
    status, found = running.ask("GET", "/openapi.json")
    assert status == 200
    return found


def schema(document, name):
    """A schema that stands alone."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_every_route_is_described_and_nothing_else(running, document):
    """Path and method of each; HEAD goes with GET, /v2/ is /v2."""
    offered = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for routes in ROUTES
        for route in routes(running.service)
        if isinstance(route, Route)
        for method in (route.methods or {"GET"}) - {"HEAD"}
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    hidden = {("/v2/", "get"), ("/v2/repository/models/{model}/load", "post"), ("/v2/repository/models/{model}/unload", "post")}
    inference = {("/v2/models/{model}/infer", "post"), ("/v2/models/{model}/versions/{version}/infer", "post")}  # before the router
    assert offered - hidden | inference == described


def test_references_lead_somewhere(document):
    """No schema is missing, none is never used."""
    text = str(document)
    named = set(re.findall(r"#/components/schemas/([\w.]+)", text))
    assert named == set(document["components"]["schemas"])
    for each in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(each)


def test_model_names_are_an_enumeration(running, document):
    """Of what is served."""
    (model,) = document["paths"]["/v2/models/{model}/infer"]["post"]["parameters"]
    assert model["schema"]["enum"] == list(running.service.models)


def test_examples_of_inference_are_answered_as_described(running, document):
    """Each example is valid, gets 200, and the answer matches its schema."""
    body = document["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]
    for name, example in body["examples"].items():
        model = name.removesuffix("-some")
        jsonschema.validate(example["value"], schema(document, "InferRequest"))
        jsonschema.validate(example["value"], schema(document, f"Point.{model}") if name == model else schema(document, "Request"))
        status, told = running.ask("POST", f"/v2/models/{model}/infer", example["value"])
        assert status == (422 if model == "plate" else 200), told  # the middle of its metals is lead, on which it fails
        jsonschema.validate(told, schema(document, "Error" if model == "plate" else "InferResponse"))


def test_examples_of_jobs_are_accepted_and_what_is_told_of_them_is_as_described(running, document):
    """Job, page and status match their schemas."""
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        jsonschema.validate(example["value"], schema(document, "JobRequest"))
        status, told = running.ask("POST", "/v1/jobs", example["value"])
        assert status == 202
        jsonschema.validate(told, schema(document, "JobView"))
    jsonschema.validate(running.ask("GET", "/v1/jobs")[1], schema(document, "JobPage"))
    jsonschema.validate(running.ask("GET", "/v1/status")[1], schema(document, "Statuses"))


def test_points_outside_the_space_do_not_match_a_models_schema(running, document):
    """Bounds, whole numbers and options are in it."""
    named, _ = running.points("plate", 1)
    inputs = running.tensors("plate", named)
    for each in inputs:
        each["shape"] = [1, 1]
    jsonschema.validate({"inputs": inputs}, schema(document, "Point.plate"))
    for name, bad in (("width", 3.0), ("layers", 1.5), ("metal", "wood")):
        wrong = [each | {"data": [bad]} if each["name"] == name else each for each in inputs]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"inputs": wrong}, schema(document, "Point.plate"))


@pytest.mark.parametrize("struct", [Request, Tensor, Wish])
def test_the_protocols_schemas_have_the_fields_that_are_decoded(document, struct):
    """They are written by hand, because raw data has no schema."""
    assert set(document["components"]["schemas"][struct.__name__]["properties"]) == set(struct.__struct_fields__)


def test_the_page_shows_every_operation_and_loads_nothing(running, document):
    """Each path is on it; no script, no address but anchors and our own paths."""
    status, headers, said = running.call("GET", "/docs")
    page = said.decode()
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    assert all(f"<code>{path}</code>" in page for path in document["paths"])
    assert "<script" not in page
    assert all(link.startswith(("/", "#", "data:")) for link in re.findall(r'(?:href|src)="([^"]*)"', page))
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors and all(f'id="{anchor}"' in page for anchor in anchors)
