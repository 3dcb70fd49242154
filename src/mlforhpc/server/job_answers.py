"""What a job's result says of each point, as JSON: encoded when the answer comes, so that a long result is never encoded at once.

    {"id": ..., "model": ..., "answers": [
    {"x": {"rw": 0.1, ...}, "source": "simulation", "key": ..., "outputs": {"flow": {"value": 71.2, "lower": 71.2, "upper": 71.2}}}, ...]}
A point without an answer has `error` and `outcome` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from mlforhpc.core.space import FloatArray, Value
from mlforhpc.scenarios.online import Answer, Look
from mlforhpc.server.job import Job

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def answered(x: Mapping[str, Value], answer: Answer) -> bytes:
    """A point that a simulation (or the store) answered."""
    said: dict[str, object] = {
        "x": dict(x),
        "source": answer.source,
        "rho": _number(answer.rho),
        "surrogate_version": answer.surrogate_version,
    }
    said |= {"key": answer.key, "kept": answer.kept, "outputs": _outputs(answer.values, answer.lower, answer.upper)}
    return orjson.dumps(said, option=_NUMPY)


def predicted(x: Mapping[str, Value], look: Look) -> bytes:
    """A point that the surrogate answered: row 0 of a look."""
    prediction = look.prediction
    assert prediction is not None  # for mypy: a row without a prediction is never sure
    first = [{name: array[0] for name, array in part.items()} for part in (prediction.mean, prediction.lower, prediction.upper)]
    said: dict[str, object] = {"x": dict(x), "source": "surrogate", "rho": look.rho[0], "surrogate_version": look.version}
    return orjson.dumps(said | {"key": "", "kept": False, "outputs": _outputs(*first)}, option=_NUMPY)


def refused(x: Mapping[str, Value], sentence: str, outcome: str) -> bytes:
    """A point that has no answer."""
    return orjson.dumps({"x": dict(x), "error": sentence, "outcome": outcome})


def joined(job: Job, answers: Sequence[bytes]) -> bytes:
    """The result."""
    return b'{"id":"%b","model":%b,"answers":[\n%b\n]}\n' % (job.id.encode(), orjson.dumps(job.model), b",\n".join(answers))


def _outputs(
    values: Mapping[str, FloatArray], lower: Mapping[str, FloatArray], upper: Mapping[str, FloatArray]
) -> dict[str, dict[str, FloatArray | float]]:
    sides = {"value": values, "lower": lower, "upper": upper}
    return {name: {side: _plain(arrays[name]) for side, arrays in sides.items() if name in arrays} for name in values}


def _plain(array: FloatArray) -> FloatArray | float:
    """A number, or an array that orjson takes: contiguous, of a native type."""
    return float(array) if array.ndim == 0 else array.astype(float, order="C")


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
