"""Inference: the right numbers, lineage, and a sentence for everything that is wrong with a request."""

from __future__ import annotations

import socket
import struct
import threading
import time

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlforhpc.core.errors import MLforHPCError
from mlforhpc.server.infer import Pending, Reply, answer
from mlforhpc.simulations.borehole import flow

PLATE = {"width": [1.5], "layers": [3], "metal": ["copper"]}


def test_the_surrogate_s_numbers_are_those_of_predict(running, data):
    """Means and interval ends of 5 points, digit by digit, with the version that gave them."""
    named, rows = running.points("borehole", 5)
    status, said = running.infer("borehole", named, parameters={"source": "surrogate"}, id="seven")
    surrogate = running.service.onlines["borehole"].surrogate
    expected = surrogate.predict(rows, of="mean")
    assert status == 200 and said["id"] == "seven"
    for name, part in (("flow", expected.mean), ("flow.lower", expected.lower), ("flow.upper", expected.upper)):
        np.testing.assert_array_equal(data(said, name), part["flow"])
    assert data(said, "source") == ["surrogate"] * 5
    assert data(said, "version") == [surrogate.version] * 5 and said["model_version"] == surrogate.version
    assert all(rho > 0 for rho in data(said, "rho"))


def test_a_simulation_answers_what_the_surrogate_does_not(running, data):
    """Mixed parameters, an array; the key of the run goes along, and the second time the store answers."""
    new = {**PLATE, "width": [1.25]}
    status, said = running.infer("plate", new)
    assert status == 200
    assert data(said, "area") == [3.75] and data(said, "profile") == [1.0, 2.25, 3.5]
    assert data(said, "source") == ["simulation"] and len(data(said, "key")[0]) == 64
    assert data(running.infer("plate", new)[1], "source") == ["store"]


def test_rows_may_come_from_both(running, data):
    """The surrogate answers the rows it is sure of, the simulation the others, each with its own numbers and lineage."""
    online = running.service.onlines["borehole"]
    named, rows = running.points("borehole", 60, seed=9)
    status, said = running.infer("borehole", named)
    assert status == 200
    sources = np.array(data(said, "source"))
    by_surrogate = sources == "surrogate"
    assert 0 < by_surrogate.sum() < 60
    predicted = online.surrogate.predict(rows, of="mean").mean["flow"]
    truth = [flow(**online.simulation.space.point(row)) for row in rows]
    np.testing.assert_allclose(data(said, "flow"), np.where(by_surrogate, predicted, truth), rtol=1e-9)
    assert [key == "" for key in data(said, "key")] == by_surrogate.tolist()
    assert all(rho <= 1 for rho, sure in zip(data(said, "rho"), by_surrogate, strict=True) if sure)


def test_all_rows_may_be_simulated(running, data):
    """With source "simulation", whatever the surrogate says."""
    named, rows = running.points("borehole", 3, seed=10)
    status, said = running.infer("borehole", named, parameters={"source": "simulation"})
    assert status == 200 and set(data(said, "source")) <= {"simulation", "store"}
    space = running.service.onlines["borehole"].simulation.space
    assert data(said, "flow") == [flow(**space.point(row)) for row in rows]


def test_only_the_outputs_that_are_asked_for_are_sent(running):
    """In their order; `kept` is there if asked for."""
    status, said = running.infer("plate", PLATE, outputs=[{"name": "kept"}, {"name": "area"}])
    assert status == 200
    assert [(o["name"], o["datatype"], o["shape"], o["data"]) for o in said["outputs"]] == [
        ("kept", "BOOL", [1], [True]),
        ("area", "FP64", [1], [4.5]),
    ]


def test_an_answer_has_nothing_of_those_before(running):
    """One row, two, some outputs, another point: then the first again is as it was."""
    (first, _), (other, _), (two, _) = (running.points("borehole", n, seed=n + k) for n, k in ((1, 0), (1, 1), (2, 0)))
    by = {"parameters": {"source": "surrogate"}}
    alone = running.infer("borehole", first, **by)
    shapes = [o["shape"] for o in running.infer("borehole", two, **by)[1]["outputs"]]
    assert {shape[0] for shape in shapes} == {2}
    running.infer("borehole", two, outputs=[{"name": "flow"}], **by)
    assert running.infer("borehole", other, **by)[1] != alone[1]
    assert running.infer("borehole", first, **by) == alone


def test_the_surrogate_s_answers_are_counted(running, data):
    """Those it was sure of, one by one and several at once; not what was asked of it whatever it thinks."""
    online = running.service.onlines["borehole"]
    space = online.simulation.space
    sure = [row for row in space.decode(np.random.default_rng(21).random((200, len(space)))) if online.look(row[None]).sure[0]][:4]
    named = [{name: [value] for name, value in space.point(row).items()} for row in sure]
    before = running.ask("GET", "/v1/status")[1]["borehole"]["answers"]["surrogate"]
    for point in named[:2]:
        assert data(running.infer("borehole", point)[1], "source") == ["surrogate"]
    running.infer("borehole", {name: [named[2][name][0], named[3][name][0]] for name in space.names})
    running.infer("borehole", named[0], parameters={"source": "surrogate"})
    assert running.ask("GET", "/v1/status")[1]["borehole"]["answers"]["surrogate"] == before + 4


def test_a_version_in_the_address_must_be_the_one_that_answers(running):
    """That one is answered, another is a 404 that names it."""
    version = running.service.models["borehole"].version
    named, _ = running.points("borehole", 1)
    source = {"parameters": {"source": "surrogate"}}
    assert running.infer("borehole", named, at=f"/versions/{version}", **source)[0] == 200
    status, said = running.infer("borehole", named, at="/versions/1", **source)
    assert status == 404 and version in said["error"]


WRONG = [
    ({"width": [1.5], "layers": [3]}, {}, "Input 'metal' is missing"),
    ({**PLATE, "widht": [1.0]}, {}, "Unknown input 'widht'"),
    ({**PLATE, "width": [3.0]}, {}, "must be a number in [1, 2] m, found 3"),
    ({**PLATE, "layers": [3.5]}, {}, "must be whole numbers"),
    ({**PLATE, "layers": [9]}, {}, "must be a whole number in [1, 5]"),
    ({**PLATE, "layers": [10**30]}, {}, "must be whole numbers"),
    ({**PLATE, "metal": ["steal"]}, {}, "Did you mean 'steel'?"),
    ({**PLATE, "metal": [3]}, {}, "must be texts"),
    ({**PLATE, "width": ["1.5"]}, {}, "must be numbers"),
    ({**PLATE, "width": [[1.5, 1.6]]}, {}, "one value a row"),
    ({**PLATE, "width": [[[1.5]]]}, {}, "must be numbers"),
    ({**PLATE, "width": [None]}, {}, "must be numbers"),
    ({**PLATE, "width": [True]}, {}, "must be numbers"),
    ({**PLATE, "width": [1.5, 1.6]}, {}, "must have the same number of rows"),
    (PLATE, {"parameters": {"tolerence": 0.1}}, "Did you mean 'tolerance'?"),
    (PLATE, {"parameters": {"tolerance": "0.1"}}, "must be a relative error"),
    (PLATE, {"parameters": {"tolerance": -1}}, "tolerance"),
    (PLATE, {"parameters": {"source": "oracle"}}, "must be one of auto, surrogate, simulation"),
    (PLATE, {"parameters": {"source": "surrogate"}}, "no surrogate yet"),
    (PLATE, {"parameters": {"binary_data_output": 1}}, "must be true or false"),
    (PLATE, {"outputs": [{"name": "aera"}]}, "Did you mean 'area'?"),
    (PLATE, {"outputs": [{"name": "area"}, {"name": "area"}]}, "asked for twice"),
    (PLATE, {"outputs": [{"name": "area", "parameters": {"classification": 2}}]}, "no classification"),
]


@pytest.mark.parametrize(("named", "rest", "sentence"), WRONG)
def test_bad_input_is_a_400_with_a_sentence(running, named, rest, sentence):
    """What was wanted, what was found; nothing is simulated."""
    before = running.service.onlines["plate"].status().answers
    status, said = running.infer("plate", named, **rest)
    assert status == 400 and sentence in said["error"], said
    assert running.service.onlines["plate"].status().answers == before


MALFORMED = [
    (b"", "no JSON"),
    (b"[]", "no JSON"),
    (b"{", "no JSON"),
    (b'{"inputs": 3}', "no JSON"),
    (b'{"inputs": [{"name": "width", "shape": [-1], "datatype": "FP64", "data": [NaN]}]}', "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"inputs": ' + b"[" * 100_000, "no JSON"),
    (b'{"inputs": [{"name": "width", "shape": [1], "datatype": "FP64", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "no JSON"),
    (b"\xff\xfe", "no JSON"),
]


@pytest.mark.parametrize(("body", "sentence"), MALFORMED)
def test_what_is_no_request_is_a_400(running, body, sentence):
    """Empty, cut, nested to the sky, not UTF-8."""
    status, said = running.ask("POST", "/v2/models/plate/infer", body)
    assert status == 400 and sentence in said["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"datatype": "FP32"}, "must have the datatype FP64, found 'FP32'"),
        ({"shape": [1, 2]}, "must have the shape [n, 1]"),
        ({"shape": []}, "must have the shape [n, 1]"),
        ({"shape": [0, 1]}, "n at least 1"),
        ({"shape": [-1, 1]}, "no JSON"),
        ({"shape": [2**70, 1]}, "no JSON"),
        ({"shape": [10**9, 1]}, "may ask for"),
        ({"shape": [2, 1]}, "must have 2 values, found 1"),
        ({"parameters": {"binary_data_size": 8}}, "both data and a binary_data_size"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(running, change, sentence):
    """Datatype, shape, number of values; before anything of its size is made."""
    inputs = running.tensors("plate", PLATE)
    inputs[0] |= change
    status, said = running.ask("POST", "/v2/models/plate/infer", {"inputs": inputs})
    assert status == 400 and sentence in said["error"], said


def test_a_tensor_may_not_come_twice(running):
    """Neither as the last nor as the first stands."""
    inputs = running.tensors("plate", PLATE)
    status, said = running.ask("POST", "/v2/models/plate/infer", {"inputs": [*inputs, inputs[0]]})
    assert status == 400 and "given twice" in said["error"]


def test_an_answer_is_bounded(service):
    """Rows of a request, and numbers of an answer."""
    big = {"inputs": [{"name": n, "shape": [1001], "datatype": "FP64", "data": []} for n in service.models["borehole"].inputs]}
    with pytest.raises(MLforHPCError, match="may ask for 1000 rows"):
        answer(service, "borehole", None, orjson.dumps(big))


def test_an_id_that_is_no_unicode_is_refused(running):
    """A lone surrogate cannot be sent back."""
    body = orjson.dumps({"inputs": running.tensors("plate", PLATE)})[:-1] + b', "id": "\\ud800"}'
    assert running.ask("POST", "/v2/models/plate/infer", body)[0] == 400


def test_a_failed_simulation_is_a_422_that_says_what_it_raised(running):
    """The outcome and the last line of its traceback; the server goes on."""
    status, said = running.infer("plate", {**PLATE, "metal": ["lead"]})
    assert status == 422 and "failed" in said["error"] and "lead is too soft" in said["error"] and "Traceback" not in said["error"]


def test_a_client_that_goes_away_has_its_simulation_cancelled(running):
    """Within a second the slot is free again, and no answer is counted."""
    online = running.service.onlines["plate"]
    body = orjson.dumps({"inputs": running.tensors("plate", {**PLATE, "metal": ["tar"]})})
    host, _, port = running.place.partition(":")
    with socket.create_connection((host, int(port))) as line:
        head = f"POST /v2/models/plate/infer HTTP/1.1\r\nHost: {running.place}\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode() + body)
        _until(lambda: online.status().waiting_answers == 1)
    _until(lambda: online.status().waiting_answers == 0)


def _until(there) -> None:
    end = time.monotonic() + 10
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_bytes_in_bytes_out_needs_no_http(service, running):
    """`answer` is a plain function; with nothing to simulate it replies at once."""
    named, _ = running.points("borehole", 1)
    body = orjson.dumps({"inputs": running.tensors("borehole", named), "parameters": {"source": "surrogate"}})
    reply = answer(service, "borehole", None, body)
    assert isinstance(reply, Reply) and reply.header_length is None and orjson.loads(reply.body)["model_name"] == "borehole"


def test_what_is_asked_meanwhile_does_not_mix_with_what_waits(service, running, data):
    """An answer that waits for its simulation, and one that is given before it."""
    waits = {"inputs": running.tensors("plate", {**PLATE, "width": [1.75]})}
    found = answer(service, "plate", None, orjson.dumps(waits))
    assert isinstance(found, Pending)
    status, meanwhile = running.infer("plate", PLATE)
    assert status == 200 and data(meanwhile, "area") == [4.5]
    found.futures[0].result(30)
    assert data(orjson.loads(found.reply().body), "area") == [5.25]


def test_pending_is_replied_when_its_futures_are_done(service, running):
    """And can be cancelled before."""
    named = {**PLATE, "width": [1.123]}
    body = orjson.dumps({"inputs": running.tensors("plate", named)})
    pending = answer(service, "plate", None, body)
    assert isinstance(pending, Pending)
    done = threading.Event()
    pending.futures[0].add_done_callback(lambda future: done.set())
    assert done.wait(30)
    assert orjson.loads(pending.reply().body)["outputs"][0]["data"] == [1.123 * 3]


def test_a_busy_queue_is_a_429_that_says_when(tmp_path_factory, running):
    """More runs than may wait: refused whole, with whole seconds to wait; a surrogate's answers go on."""
    online = running.service.onlines["plate"]
    rows = online.status().queue
    widths = np.linspace(1.2, 1.3, rows).tolist()
    slow = {"inputs": running.tensors("plate", {"width": widths, "layers": [1] * rows, "metal": ["tar"] * rows})}
    pending = answer(running.service, "plate", None, orjson.dumps(slow))
    assert isinstance(pending, Pending)
    try:
        status, headers, said = running.call("POST", "/v2/models/plate/infer", orjson.dumps(slow | {"id": "x"} | _shifted(slow)))
        assert status == 429 and int(headers["retry-after"]) >= 1 and "error" in orjson.loads(said)
        named, _ = running.points("borehole", 1)
        assert running.infer("borehole", named, parameters={"source": "surrogate"})[0] == 200
    finally:
        pending.cancel()
    _until(lambda: online.status().waiting_answers == 0)


def _shifted(request) -> dict:
    """The same request for other points."""
    inputs = [dict(each) for each in request["inputs"]]
    inputs[1] = inputs[1] | {"data": [2] * len(inputs[1]["data"])}
    return {"inputs": inputs}


def binary(named, wants, *, outputs=None, **rest) -> tuple[bytes, int]:
    """A request whose inputs are binary."""
    parts, inputs = [], []
    for name, values in named.items():
        if wants[name].datatype == "BYTES":
            raw = b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
        else:
            raw = np.array(values, dtype="<f8" if wants[name].datatype == "FP64" else "<i8").tobytes()
        parts.append(raw)
        said = {"binary_data_size": len(raw)}
        inputs.append({"name": name, "shape": [len(values), 1], "datatype": wants[name].datatype, "parameters": said})
    head = orjson.dumps({"inputs": inputs, **({"outputs": outputs} if outputs else {}), **rest})
    return head + b"".join(parts), len(head)


def test_binary_in_and_out_give_the_same_numbers(running, service):
    """Every datatype both ways; the header's length is of the JSON alone."""
    wants = service.models["plate"].inputs
    body, length = binary(PLATE, wants, parameters={"binary_data_output": True})
    status, headers, said = running.call("POST", "/v2/models/plate/infer", body, {"Inference-Header-Content-Length": str(length)})
    assert status == 200, said
    at = int(headers["inference-header-content-length"])
    found, rest = {}, said[at:]
    for each in orjson.loads(said[:at])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        found[each["name"]], rest = rest[:size], rest[size:]
    assert rest == b""
    assert np.frombuffer(found["profile"]).tolist() == [1.0, 2.5, 4.0]
    assert found["source"][:4] == struct.pack("<I", len(found["source"]) - 4)


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "x", "3"])
def test_a_wrong_header_length_is_a_400(running, service, length):
    """Not a number, longer than the body, or not where the JSON ends."""
    body, _ = binary(PLATE, service.models["plate"].inputs)
    assert running.ask("POST", "/v2/models/plate/infer", body, {"Inference-Header-Content-Length": length})[0] == 400


@pytest.mark.parametrize(("more", "sentence"), [(b"x", "found 25 behind the JSON"), (b"", None)])
def test_what_lies_behind_the_tensors_is_refused(running, service, more, sentence):
    """One byte too many would mean that sizes and tensors do not belong together."""
    body, length = binary({**PLATE, "metal": ["lead"]}, service.models["plate"].inputs)
    status, said = running.ask("POST", "/v2/models/plate/infer", body + more, {"Inference-Header-Content-Length": str(length)})
    assert status == (400 if sentence else 422) and (sentence or "lead") in said["error"]


WANTS = {"width": "FP64", "layers": "INT64", "metal": "BYTES"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.one_of(st.integers(-1, 40), st.integers(2**31, 2**70), st.booleans(), st.none()), min_size=3, max_size=3),
    shape=st.lists(st.integers(-1, 5), max_size=3),
    rest=st.binary(max_size=64),
    length=st.one_of(st.none(), st.integers(-5, 600)),
    flip=st.integers(0, 200),
)
def test_whatever_the_bytes_are_there_is_a_sentence_or_an_answer(service, sizes, shape, rest, length, flip):
    """The binary parser meets wrong sizes, shapes, lengths and bytes; no other error than ours comes out."""
    inputs = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": size}}
        for (name, kind), size in zip(WANTS.items(), sizes, strict=True)
        if not (isinstance(size, int) and size > 2**63)
    ]
    head = bytearray(orjson.dumps({"inputs": inputs}))
    if flip < len(head):
        head[flip] ^= 1 << (flip % 8)
    body = bytes(head) + rest
    try:
        found = answer(service, "plate", None, body, len(head) if length is None else length)
    except MLforHPCError as error:
        assert len(str(error)) > 10
    else:
        if isinstance(found, Pending):
            found.cancel()


def test_the_texts_of_a_bytes_tensor_come_out_even(service):
    """Lengths beyond the tensor, too few and too many elements, bytes that are no UTF-8."""
    wants = service.models["plate"].inputs
    for raw, sentence in [
        (struct.pack("<I", 9) + b"steel", "more than the tensor has left"),
        (b"", "must have 1 elements, found 0"),
        ((struct.pack("<I", 5) + b"steel") * 2, "must have 1 elements, found more"),
        (struct.pack("<I", 2) + b"\xff\xff", "UTF-8"),
        (b"\x01", "4-byte length"),
    ]:
        body, length = binary({"width": [1.5], "layers": [3]}, wants)
        head = orjson.loads(body[:length])
        head["inputs"].append({"name": "metal", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}})
        new = orjson.dumps(head)
        with pytest.raises(MLforHPCError, match=sentence):
            answer(service, "plate", None, new + body[length:] + raw, len(new))


def test_not_a_number_is_refused_in_binary_too(running, service):
    """NaN and infinity are outside every bound."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        body, length = binary({**PLATE, "width": [bad]}, service.models["plate"].inputs)
        status, said = running.ask("POST", "/v2/models/plate/infer", body, {"Inference-Header-Content-Length": str(length)})
        assert status == 400 and "must be a number in [1, 2] m" in said["error"]
