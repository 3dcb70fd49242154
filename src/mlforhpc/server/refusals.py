"""What the server says no with: a status, and the sentence of an error as `{"error": sentence}`.

bad input 400, failed simulation 422, too busy 429, a simulation that was lost 503, everything that nobody foresaw 500
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
from starlette.types import Send

from mlforhpc.core.errors import MLforHPCError, StoreError, TaskError, UsageError
from mlforhpc.scenarios.online import Busy

LONGEST = 600
SHORTEST_WAIT_S = 1


class Refused(MLforHPCError):
    """A request that is not served.

    Attributes:
        status: of the answer, 4xx or 5xx.
        headers: of the answer.
    """

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


def refusal(error: Exception) -> Refused:
    """An error as what the client gets."""
    match error:
        case Refused():
            return error
        case Busy():
            return Refused(429, str(error), headers=retry_after(error.retry_after_s))
        case TaskError():
            again = error.outcome in ("lost", "cancelled")
            return Refused(503 if again else 422, _of_task(error), headers=retry_after(1.0) if again else None)
        case UsageError():
            return Refused(400, str(error))
        case StoreError():
            return Refused(503, str(error), headers=retry_after(10.0))
        case MLforHPCError():
            return Refused(422, str(error))
    return Refused(500, "The server met an error that it did not foresee; its log has the details.")


def body(sentence: str) -> bytes:
    """`{"error": sentence}`, of bounded length whatever the request had in it."""
    short = sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 4] + " ..."
    return orjson.dumps({"error": short.encode("utf-8", "replace").decode()})


def retry_after(seconds: float) -> dict[str, str]:
    """The header that says when to come again, in whole seconds."""
    return {"Retry-After": str(max(SHORTEST_WAIT_S, math.ceil(seconds)))}


def _of_task(error: TaskError) -> str:
    """The sentence and what the simulation raised, without the traceback between."""
    first = str(error).partition("\n")[0]
    last = error.remote_traceback.strip().rpartition("\n")[2].strip()
    return first if not last or last in first else f"{first} It said: {last}"


async def refuse(send: Send, refused: Refused) -> None:
    """Send a refusal."""
    content = body(str(refused))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
