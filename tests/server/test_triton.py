"""Clients that we did not write: Triton's, synchronous and asyncio, ask for everything the protocol has."""

from __future__ import annotations

import asyncio
import gzip

import numpy as np
import orjson
import pytest

httpclient = pytest.importorskip("tritonclient.http")
aioclient = pytest.importorskip("tritonclient.http.aio")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

SOURCE = {"source": "surrogate"}
CODINGS = [None, "gzip", "deflate"]


@pytest.fixture
def client(running):
    """The synchronous one, with eight connections."""
    with httpclient.InferenceServerClient(running.place, concurrency=8) as found:
        yield found


def inputs(module, running, model, named, *, binary):
    """Tensors of a request."""
    tensors = []
    for name, values in named.items():
        kind = running.service.models[model].inputs[name].datatype
        tensor = module.InferInput(name, [len(values), 1], kind)
        dtype = {"FP64": np.float64, "INT64": np.int64, "BYTES": np.object_}[kind]
        tensor.set_data_from_numpy(np.array(values, dtype=dtype)[:, None], binary_data=binary)
        tensors.append(tensor)
    return tensors


def outputs(module, names, *, binary):
    """What is asked for."""
    return [module.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_it_lists_and_checks(client, running):
    """Liveness, readiness, metadata of server and model, configuration, statistics, index."""
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("borehole")
    assert client.get_server_metadata()["name"] == "mlforhpc"
    metadata = client.get_model_metadata("plate")
    assert [(i["name"], i["datatype"]) for i in metadata["inputs"]] == [("width", "FP64"), ("layers", "INT64"), ("metal", "BYTES")]
    assert {"name": "profile.lower", "datatype": "FP64", "shape": [-1, 3]} in metadata["outputs"]
    config = client.get_model_config("plate")
    assert config["input"][2] == {"name": "metal", "data_type": "TYPE_STRING", "dims": [-1, 1]}
    assert config["parameters"]["parameter.metal"]["string_value"] == "steel, copper, lead, tar"
    index = client.get_model_repository_index()
    assert {model["name"]: model["state"] for model in index} == {"borehole": "READY", "plate": "READY"}
    version = running.service.models["borehole"].version
    assert client.is_model_ready("borehole", version) and not client.is_model_ready("borehole", "1")
    assert client.get_model_metadata("borehole", version)["versions"] == [version]


def test_statistics_grow(client, running):
    """By rows and by requests, of one model and of all."""
    named, _ = running.points("borehole", 3)
    before = client.get_inference_statistics("borehole")["model_stats"][0]
    client.infer("borehole", inputs(httpclient, running, "borehole", named, binary=True), parameters=SOURCE)
    after = client.get_inference_statistics("borehole")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert {each["name"] for each in client.get_inference_statistics()["model_stats"]} == {"borehole", "plate"}


@pytest.mark.parametrize("answer_coding", CODINGS)
@pytest.mark.parametrize("request_coding", CODINGS)
@pytest.mark.parametrize("binary_out", [False, True])
@pytest.mark.parametrize("binary_in", [False, True])
def test_every_way_gives_the_same_numbers(client, running, binary_in, binary_out, request_coding, answer_coding):
    """JSON and binary, in and out; none, gzip and deflate both ways: digit by digit what the surrogate predicts."""
    named, rows = running.points("borehole", 50)
    result = client.infer(
        "borehole",
        inputs(httpclient, running, "borehole", named, binary=binary_in),
        outputs=outputs(httpclient, ["flow", "flow.upper", "source", "version"], binary=binary_out),
        request_compression_algorithm=request_coding,
        response_compression_algorithm=answer_coding,
        parameters=SOURCE,
        request_id="one",
    )
    surrogate = running.service.onlines["borehole"].surrogate
    expected = surrogate.predict(rows, of="mean")
    np.testing.assert_array_equal(result.as_numpy("flow"), expected.mean["flow"])
    np.testing.assert_array_equal(result.as_numpy("flow.upper"), expected.upper["flow"])
    assert {text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("version")} == {surrogate.version}
    assert result.get_response()["id"] == "one"


def test_all_datatypes_go_both_ways(client, running):
    """Whole numbers and texts in, an array and texts out, of two rows at once."""
    named = {"width": [1.25, 1.75], "layers": [2, 4], "metal": ["steel", "copper"]}
    for binary in (False, True):
        result = client.infer("plate", inputs(httpclient, running, "plate", named, binary=binary))  # all outputs, in binary
        assert result.as_numpy("area").tolist() == [2.5, 7.0]
        assert result.as_numpy("profile").tolist() == [[0.0, 1.25, 2.5], [1.0, 2.75, 4.5]]
        assert set(result.as_numpy("source").tolist()) <= {b"simulation", b"store"}
        assert [len(key) for key in result.as_numpy("key")] == [64, 64]


def test_many_at_once(client, running):
    """Forty requests on eight connections, each with its own numbers."""
    asked = []
    for seed in range(40):
        named, rows = running.points("borehole", 1, seed)
        asked.append((rows, client.async_infer("borehole", inputs(httpclient, running, "borehole", named, binary=True), parameters=SOURCE)))
    surrogate = running.service.onlines["borehole"].surrogate
    for rows, request in asked:
        np.testing.assert_array_equal(request.get_result().as_numpy("flow"), surrogate.predict(rows, of="mean").mean["flow"])


def test_errors_can_be_read(client, running):
    """The sentence arrives as the exception's message, with its status."""
    with pytest.raises(InferenceServerException, match="Did you mean 'borehole'") as unknown:
        client.get_model_metadata("boreholes")
    assert unknown.value.status() == "404"
    named, _ = running.points("borehole", 1)
    with pytest.raises(InferenceServerException, match=r"Parameter 'rw' must be a number in \[0.05, 0.15\] m, found 7 in row 0") as outside:
        client.infer("borehole", inputs(httpclient, running, "borehole", {**named, "rw": [7.0]}, binary=True))
    assert outside.value.status() == "400"
    with pytest.raises(InferenceServerException, match="lead is too soft") as failed:
        client.infer("plate", inputs(httpclient, running, "plate", {"width": [1.5], "layers": [1], "metal": ["lead"]}, binary=True))
    assert failed.value.status() == "422"
    with pytest.raises(InferenceServerException, match="cannot be loaded"):
        client.load_model("borehole")
    with pytest.raises(InferenceServerException, match="no version '3'"):
        client.infer("borehole", inputs(httpclient, running, "borehole", named, binary=True), model_version="3")


def test_the_asyncio_client(running):
    """The same, concurrently, with its own headers (a Content-Type of bytes, compressed answers accepted)."""
    named, rows = running.points("borehole", 50)
    surrogate = running.service.onlines["borehole"].surrogate
    expected = surrogate.predict(rows, of="mean").mean["flow"]

    async def everything():
        async with aioclient.InferenceServerClient(running.place) as client:
            assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("plate")
            assert (await client.get_server_metadata())["name"] == "mlforhpc"
            assert len((await client.get_model_metadata("plate"))["outputs"]) == 11
            assert (await client.get_model_config("plate"))["platform"] == "mlforhpc"
            assert len(await client.get_model_repository_index()) == 2
            assert (await client.get_inference_statistics("plate"))["model_stats"][0]["name"] == "plate"

            async def one(binary, asked, told):
                result = await client.infer(
                    "borehole",
                    inputs(aioclient, running, "borehole", named, binary=binary),
                    outputs=outputs(aioclient, ["flow"], binary=binary),
                    request_compression_algorithm=asked,
                    response_compression_algorithm=told,
                    parameters=SOURCE,
                )
                np.testing.assert_array_equal(result.as_numpy("flow"), expected)

            await asyncio.gather(*(one(binary, asked, told) for binary in (False, True) for asked in CODINGS for told in CODINGS))
            with pytest.raises(InferenceServerException, match="Did you mean 'borehole'"):
                await client.infer("boreholes", inputs(aioclient, running, "borehole", named, binary=True))

    asyncio.run(everything())


def test_answers_are_compressed_where_it_is_asked_for_and_pays(running):
    """A large answer is; a small one and metadata are not, whatever is accepted; br never is."""
    accepting = {"Accept-Encoding": "br, gzip;q=0.5, deflate"}
    for rows, coding in ((50, "gzip"), (1, None)):
        named, _ = running.points("borehole", rows)
        body = _json(running, named)
        status, headers, said = running.call("POST", "/v2/models/borehole/infer", body, accepting)
        assert status == 200 and headers.get("content-encoding") == coding
        assert (gzip.decompress(said) if coding else said).startswith(b'{"model_name":"borehole"')
    assert "content-encoding" not in running.call("GET", "/v2/models/plate/config", headers=accepting)[1]
    for refused in ("br", "gzip;q=0", "identity"):
        named, _ = running.points("borehole", 50)
        headers = running.call("POST", "/v2/models/borehole/infer", _json(running, named), {"Accept-Encoding": refused})[1]
        assert "content-encoding" not in headers


def _json(running, named) -> bytes:

    return orjson.dumps({"inputs": running.tensors("borehole", named), "parameters": SOURCE})
