"""What is wrong with a request gets a 4xx with a sentence from the server as a process, and the next request is served."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from pathlib import Path

import pytest

OWN = f"{Path(__file__).parent / 'own.py'}:PLATE"
INFER, INDEX, JOBS = "POST /v2/models/plate/infer", "POST /v2/repository/index", "POST /v1/jobs"
INPUTS = [
    {"name": "width", "shape": [1], "datatype": "FP64", "data": [1.5]},
    {"name": "layers", "shape": [1], "datatype": "INT64", "data": [1]},
    {"name": "metal", "shape": [1], "datatype": "BYTES", "data": ["steel"]},
]
GOOD = json.dumps({"inputs": INPUTS}).encode()
JOB = b'{"model": "plate", "x": {"width": %b, "layers": %b, "metal": "steel"}}'
DEEP, HUGE = b"[" * 100_000 + b"]" * 100_000, b"1" + b"0" * 400


@pytest.fixture(scope="module")
def served(live, tmp_path_factory):
    """A server of plate alone."""
    with live(tmp_path_factory.mktemp("bad"), OWN, "--slots", 1) as found:
        yield found


def put(old: bytes, new: bytes) -> bytes:
    """The good request with something else in it."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def binary(*sizes, raw: bytes) -> tuple[bytes, str]:
    """A request with binary tensors of these sizes, and its header."""
    inputs = [{k: v for k, v in each.items() if k != "data"} for each in INPUTS]
    head = json.dumps({"inputs": [each | {"parameters": {"binary_data_size": n}} for each, n in zip(inputs, sizes, strict=True)]}).encode()
    return head + raw, f"Inference-Header-Content-Length: {len(head)}"


def said(line: socket.socket) -> tuple[int, str]:
    """Status and sentence of an answer, which must be JSON with nothing but an error."""
    answer = http.client.HTTPResponse(line)
    answer.begin()
    assert answer.getheader("content-type") == "application/json"
    told = json.loads(answer.read())
    assert list(told) == ["error"] and told["error"].endswith((".", ". ...", "?", " ...")) and len(told["error"]) <= 600, told
    return answer.status, told["error"]


def sent(served, line: bytes, body: bytes, headers: tuple[str, ...]) -> tuple[int, str]:
    """What is answered to a first line and a body, sent as they are."""
    with served.line() as connection:
        lines = [line + b" HTTP/1.1", f"Host: {served.place}".encode(), b"Content-Length: %d" % len(body), *(h.encode() for h in headers)]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return said(connection)


BODIES = [
    (INFER, b"", 400, "no JSON of an inference"),
    (INFER, b"<request/>", 400, "no JSON of an inference"),
    (INFER, GOOD + b"x", 400, "trailing characters"),
    (INFER, b"\xef\xbb\xbf" + GOOD, 400, "no JSON of an inference"),
    (INFER, GOOD.decode().encode("utf-16"), 400, "no JSON of an inference"),
    (INFER, b"[]", 400, "Expected `object`"),
    (INFER, DEEP, 400, "Expected `object`"),
    (INFER, put(b'{"inputs"', b'{"other": ' + DEEP + b', "inputs"'), 400, "nested too deeply"),
    (INFER, put(b'["steel"]', DEEP), 400, "nested too deeply"),
    (INFER, put(b'{"inputs"', b'{"parameters": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b', "inputs"'), 400, "nested too deeply"),
    (INFER, put(b'{"inputs"', b'{"parameters": {"tolerance": ' + HUGE + b'}, "inputs"'), 400, "beyond 1e308"),
    (INFER, put(b'{"inputs"', b'{"parameters": {"tolerance": NaN}, "inputs"'), 400, "malformed"),
    (INFER, put(b'{"inputs"', b'{"parameters": {"tolerance": 1e999}, "inputs"'), 400, "out of range"),
    (INFER, put(b'{"inputs"', b'{"parameters": {"tolerance": 1e-999}, "inputs"'), 400, "above 0"),
    (INFER, put(b"[1.5]", b"[NaN]"), 400, "malformed"),
    (INFER, put(b"[1.5]", b"[-Infinity]"), 400, "malformed"),
    (INFER, put(b"[1.5]", b"[1e999]"), 400, "out of range"),
    (INFER, put(b"[1.5]", b"[" + HUGE + b"]"), 400, "out of range"),
    (INFER, put(b"[1.5]", b"[1e9]"), 400, "must be a number in [1, 2] m"),
    (INFER, put(b'"FP64"', b'"FP32"'), 400, "datatype FP64, found 'FP32'"),
    (INFER, put(b'"FP64"', b"7"), 400, "Expected `str`, got `int`"),
    (INFER, GOOD.replace(b"[1]", b"[2]"), 400, "must have 2 values, found 1"),
    (INFER, GOOD.replace(b"[1]", b"[1, 1, 1]"), 400, "must have the shape [n, 1]"),
    (INFER, GOOD.replace(b"[1]", b"[0]"), 400, "n at least 1"),
    (INFER, GOOD.replace(b"[1]", b"[-1]"), 400, ">= 0"),
    (INFER, GOOD.replace(b"[1]", b"[1000000000000]"), 400, "may ask for 1000 rows"),
    (INFER, GOOD.replace(b"[1]", b"[1e3]"), 400, "Expected `int`"),
    (INFER, put(b'"width"', b'"../../etc/passwd"'), 400, "Unknown input"),
    (INFER, put(b'"width"', b'"' + b"w" * 1_000_000 + b'"'), 400, "Unknown input"),
    (INFER, put(b'"steel"', b'"st\xff\xfeel"'), 400, "UTF-8"),
    (INFER, put(b'"steel"', b'"\\ud800"'), 400, "no JSON of an inference"),
    (INFER, put(b'"steel"', b'"steel\\u0000"'), 400, "must be one of steel"),
    (INFER, put(b'{"inputs"', b'{"id": "\\ud800 ", "inputs"'), 400, "no JSON of an inference"),
    (INFER, b" " * (4 << 20) + b" ", 413, "4194304 bytes"),
    (INDEX, b'{"other": ' + DEEP + b"}", 400, "recursion"),
    (INDEX, b'{"ready": 1}', 400, "Expected `bool`"),
    (JOBS, b"", 400, "A job is JSON"),
    (JOBS, JOB % (b"1.5", HUGE), 400, "must be a whole number in [1, 5]"),
    (JOBS, JOB % (HUGE, b"1"), 400, "must be a number in [1, 2] m"),
    (JOBS, JOB % (b"1.5", b"1.5"), 400, "must be a whole number"),
    (JOBS, JOB % (b"NaN", b"1"), 400, "malformed"),
    (JOBS, JOB % (b'"nan"', b"1"), 400, "must be a number"),
    (JOBS, JOB % (b"[1.5]", b"1"), 400, "got `array`"),
    (JOBS, (JOB % (b"1.5", b"1")).replace(b"steel", b"st\xffeel"), 400, "utf-8"),
    (JOBS, (JOB % (b"1.5", b"1")).replace(b'"plate"', b'"../plate"'), 404, "No simulation of that name"),
    (JOBS, b'{"model": "plate", "x": ' + DEEP + b"}", 400, "A job is JSON"),
    (JOBS, b'{"model": "plate", "x": []}', 400, "length >= 1"),
    (JOBS, b'{"model": "plate", "x": [' + b"{}," * 1_000 + b"{}]}", 400, "at most 1000 points"),
]


@pytest.mark.parametrize(("line", "body", "status", "words"), BODIES, ids=range(len(BODIES)))
def test_a_wrong_body_is_a_4xx_with_a_sentence(served, line, body, status, words):
    """Empty, no JSON, deep, huge, not a number, wrong types, shapes and names."""
    found = sent(served, line.encode(), body, ())
    assert found[0] == status and words in found[1], found


PATHS = [
    ("GET /v2/models/../..", 404),
    ("GET /v2/models/..%2f..%2fetc%2fpasswd/ready", 404),
    ("GET /v2/models/%2e%2e/ready", 404),
    ("GET /v2/models/%252e%252e/ready", 404),
    ("GET /v2/models/plate%00/ready", 404),
    ("GET /v2/models/plate\0/ready", 400),
    ("GET /v2/models/%ff%fe/ready", 404),
    ("GET /v2/models/\xff\xfe/ready", 400),
    ("GET /v2/models/%ed%a0%80/ready", 404),
    ("GET /v2/models//ready", 404),
    ("GET /v2/models/plate/", 404),
    ("GET /v2/models/PLATE", 404),
    ("GET /v2/models/plate/versions/..%2f..%2fstate.json", 404),
    ("GET /v2/models/plate/versions/%2e%2e", 404),
    ("GET /v2/models/" + "a" * 10_000 + "/ready", 404),
    ("GET /v2/models/" + "a" * 100_000 + "/ready", 400),
    ("GET /v2/models/" + "a" * 300_000, 431),
    ("POST /v2/repository/models/..%2f..%2fetc/load", 404),
    ("POST /v2/repository/models/plate/load", 400),
    ("GET /v1/records/..%2f..%2fevents.jsonl", 404),
    ("GET /v1/records/%2e%2e", 404),
    ("GET /v1/records/" + "0" * 64, 404),
    ("GET /v1/records", 400),
    ("GET /v1/records?simulation=..%2f..%2fetc", 404),
    ("GET /v1/records?simulation=plate&limit=" + "9" * 5_000, 400),
    ("GET /v1/records?simulation=plate&width.min=nan", 400),
    ("GET /v1/records?simulation=plate&width.min=%00", 400),
    ("GET /v1/records?simulation=plate&simulation=plate", 400),
    ("GET /v1/records/export?format=..%2fx", 400),
    ("GET /v1/records/export?simulation=..%2f..%2fetc%2fpasswd", 404),
    ("GET /v1/jobs/..%2f..%2fevents.jsonl", 404),
    ("GET /v1/jobs/" + "0" * 32 + "%00", 404),
    ("GET /v1/jobs/" + "0" * 32 + "/result", 404),
    ("GET /v1/jobs?limit=0", 400),
    ("GET /log.jsonl", 404),
    ("GET *", 404),
    ("GET v2", 400),
    ("GET ", 400),
    ("get /v2", 400),
    ("BREW /v2", 400),
    ("CONNECT localhost:80", 400),
    ("OPTIONS *", 404),
    ("TRACE /v2", 405),
    ("PUT /v2/models/plate/infer", 405),
    ("GET /v2/models/plate/infer", 405),
    ("DELETE /v1/jobs", 405),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("\x16\x03\x01\x02\x00\x01\x00", 400),
]


@pytest.mark.parametrize(("line", "status"), PATHS, ids=[line[:50].encode("unicode_escape").decode() for line, _ in PATHS])
def test_a_wrong_address_or_method_is_a_4xx_with_a_sentence(served, line, status):
    """Ways out of a folder, NUL, long and foreign names, methods that are not taken, what is no HTTP."""
    assert sent(served, line.encode("latin-1"), b"", ())[0] == status


SHORT = GOOD[: len(GOOD) // 2]
HEADERS = [
    ("Content-Encoding: br", GOOD, 415, "gzip, deflate"),
    ("Content-Encoding: gzip, gzip", GOOD, 415, "gzip, deflate"),
    ("Content-Encoding: gzip", GOOD, 400, "is not gzip"),
    ("Content-Encoding: deflate", gzip.compress(GOOD), 400, "is not deflate"),
    ("Content-Encoding: gzip", gzip.compress(GOOD)[:-9], 400, "one whole gzip stream"),
    ("Content-Encoding: gzip", gzip.compress(GOOD) * 2, 400, "one whole gzip stream"),
    ("Content-Encoding: gzip", gzip.compress(bytes(64 << 20)), 413, "when decompressed"),
    ("Inference-Header-Content-Length: 9999", GOOD, 400, "length of the JSON"),
    ("Inference-Header-Content-Length: -1", GOOD, 400, "number of bytes"),
    ("Inference-Header-Content-Length: 1e2", GOOD, 400, "number of bytes"),
    ("Inference-Header-Content-Length: " + "9" * 500, GOOD, 400, "number of bytes"),
    (f"Inference-Header-Content-Length: {len(SHORT)}", GOOD, 400, "no JSON of an inference"),
    ("Content-Length: 1", GOOD, 400, "no request of HTTP/1.1"),
    ("Content-Length: -1", b"", 400, "no request of HTTP/1.1"),
    ("Transfer-Encoding: chunked", b"0\r\n\r\n", 400, "no request of HTTP/1.1"),
    ("Host: other.example", GOOD, 403, "called"),
    ("Origin: http://other.example", GOOD, 403, "other sites"),
    ("X-Nothing: a\0b", GOOD, 400, "no request of HTTP/1.1"),
    ("X-Long: " + "y" * 1_000_000, b"", 431, "65536 bytes"),
]


@pytest.mark.parametrize(("header", "body", "status", "words"), HEADERS, ids=[each[0][:40].replace("\0", "0") for each in HEADERS])
def test_a_wrong_header_is_a_4xx_with_a_sentence(served, header, body, status, words):
    """Codings, lengths, hosts, and heads that are too long."""
    found = sent(served, INFER.encode(), body, (header,))
    assert found[0] == status and words in found[1], found


TEXT = b"\5\0\0\0steel"
BINARY = [
    ((8, 8, 9), bytes(24), "takes 25 bytes|take 25 bytes|found"),
    ((8, 8, 9), b"\xff" * 8 + bytes(8) + TEXT, "found nan"),
    ((8, 8, 9), b"\0" * 6 + b"\xf0\x7f" + b"\1" + bytes(7) + TEXT, "found inf"),
    ((8, 8, 9), b"\0" * 6 + b"\xf8\x3f" + b"\xff" * 7 + b"\x7f" + TEXT, "whole number"),
    ((8, 8, 9), b"\0" * 6 + b"\xf8\x3f" + b"\1" + bytes(7) + b"\xff\xff\xff\xff" + b"steel", "more than the tensor has left"),
    ((8, 8, 9), b"\0" * 6 + b"\xf8\x3f" + b"\1" + bytes(7) + b"\5\0\0\0st\xffel", "UTF-8"),
    ((4, 8, 9), bytes(21), "must have 8 bytes"),
    ((1 << 62, 8, 9), bytes(25), "is said to have"),
    ((-8, 8, 9), bytes(25), "must be a number of bytes"),
    ((True, 8, 9), bytes(25), "must be a number of bytes"),
    ((8.0, 8, 9), bytes(25), "must be a number of bytes"),
    ((8, 8, 0), bytes(16), "must have 1 elements, found 0"),
    ((8, 8, 9), b"\0" * 6 + b"\xf8\x3f" + b"\1" + bytes(7) + TEXT + b"more", "found 29 behind the JSON"),
]


@pytest.mark.parametrize(("sizes", "raw", "words"), BINARY, ids=range(len(BINARY)))
def test_wrong_binary_tensors_are_a_400_with_a_sentence(served, sizes, raw, words):
    """Sizes that do not agree, NaN, infinity, whole numbers outside, lengths of texts, bytes that belong to nothing."""
    body, header = binary(*sizes, raw=raw)
    status, sentence = sent(served, INFER.encode(), body, (header,))
    assert status == 400 and any(each in sentence for each in words.split("|")), sentence


def test_right_binary_tensors_are_served(served):
    """So that the table above is about what is wrong."""
    body, header = binary(8, 8, 9, raw=b"\0" * 6 + b"\xf8\x3f" + b"\1" + bytes(7) + TEXT)
    name, _, value = header.partition(": ")
    assert served.call("POST", "/v2/models/plate/infer", body, {name: value})[0] == 200


def test_of_a_key_that_stands_twice_the_last_counts(served):
    """In JSON the names of an object ought to be unique; what a decoder does otherwise is its own affair, and ours is documented."""
    twice = json.dumps({"inputs": []})[:-1].encode() + b"," + GOOD[1:]
    assert served.call("POST", "/v2/models/plate/infer", twice)[0] == 200
    assert served.call("POST", "/v2/models/plate/infer", GOOD[:-1] + b', "inputs": []}')[0] == 400


def test_more_tolerances_than_may_be_do_not_take_room_from_others(served):
    """Beyond those that have gates each gets a smaller one; one that is refused leaves no simulation counted as waiting; it goes on."""
    for step in range(140):
        content = {"inputs": INPUTS, "parameters": {"tolerance": 10 ** (-3 + step / 20)}}
        assert served.ask("POST", "/v2/models/plate/infer", content)[0] == 200
    status, told = served.ask("POST", "/v2/models/plate/infer", {"inputs": INPUTS, "parameters": {"tolerance": 1e-6}})
    assert status == 400 and "different tolerances" in told["error"]
    assert served.status("plate")["waiting_answers"] == 0
    assert served.call("POST", "/v2/models/plate/infer", GOOD)[0] == 200


def test_afterwards_it_lives_and_has_nothing_unforeseen_in_its_log(served):
    """The last test of this file: no traceback of all that, no child more than before."""
    assert served.call("POST", "/v2/models/plate/infer", GOOD)[0] == 200
    assert served.end() == 75
    entries = [json.loads(line) for line in (served.folder / "log.jsonl").read_text().splitlines()]
    assert not [each for each in entries if "traceback" in each or each.get("status", 0) >= 500]
