"""manifest.json and result.json: the published schemas are those of the types, and what is written can be read.

python tests/core/test_document.py writes the schemas to docs/schema/.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlforhpc.core.document import RESULT_VERSION, ResultDocument, decode, encode, schema
from mlforhpc.core.manifest import Manifest
from mlforhpc.core.result import Figure, Interval, Panel, Result, Series, Table, Verdict

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"
KINDS: dict[str, Any] = {"manifest": Manifest, "result": ResultDocument}
MANIFEST = Manifest(
    run_id="r1", benchmark="b", benchmark_version="1", benchmark_class="around", size="tiny", seed=0, engine="serial", slots=1
)
RESULT = ResultDocument(
    run_id="r1",
    result=Result(
        verdict=Verdict(status="VALID", reason="q 0.04 is at most 0.05.", target=0.05, ranked=True),
        headline={"q": Interval(value=0.04, lower=0.03, upper=0.045, better="lower")},
        quality={"q": 0.04, "undefined": None},
        performance={"makespan_s": 2.5},
        figures=[
            Figure(name="f", title="F", caption="c", panels=[Panel(spans={"s": (1.0, 2.0)}, series=[Series(label="l", x=[1.0], y=[None])])])
        ],
        tables=[Table(name="t", title="T", caption="c", columns=["a", "b"], rows=[["x", 1], [None, 2.5]])],
        references=["A, B, 2020"],
    ),
)


def schema_text(name: str) -> str:
    """A schema as it is published."""
    return json.dumps(schema(KINDS[name]), indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", KINDS)
def test_the_published_schema_is_that_of_the_types(name: str) -> None:
    """A change of a type must be published: python tests/core/test_document.py."""
    assert (SCHEMAS / f"{name}.schema.json").read_text() == schema_text(name)


@pytest.mark.parametrize("document", [MANIFEST, RESULT])
def test_what_is_written_is_valid_and_reads_back_equal(document: Any) -> None:
    """Encoded documents follow their schema, and decode to what they were."""
    data = encode(document)
    jsonschema.validate(json.loads(data), schema(type(document)), cls=jsonschema.Draft202012Validator)
    assert decode(data, type(document)) == document


def test_a_newer_document_is_refused_by_its_version() -> None:
    """A file of a later package says so, whatever else is in it."""
    newer = json.dumps({"schema_version": RESULT_VERSION + 1, "surprise": 1}).encode()
    with pytest.raises(ValueError, match="newer mlforhpc"):
        decode(newer, ResultDocument)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"run_id": 3}', b"\xff"])
def test_a_broken_document_is_a_value_error(data: bytes) -> None:
    """Whatever is wrong, the error is one that callers expect."""
    with pytest.raises(ValueError):
        decode(data, ResultDocument)


if __name__ == "__main__":
    SCHEMAS.mkdir(parents=True, exist_ok=True)
    for name in KINDS:
        (SCHEMAS / f"{name}.schema.json").write_text(schema_text(name))
