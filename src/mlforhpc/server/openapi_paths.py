"""What can be asked of the service, one entry an operation: the table behind `/openapi.json` and `/docs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlforhpc.server.openapi_schemas import FORMAT, OUTCOME, PAGE, PLACE, TEXT_SCHEMA, WHOLE, Schema

JSON, TEXT, HTML, EVENTS = "application/json", "text/plain", "text/html", "text/event-stream"
BINARY, CSV, PARQUET = "application/octet-stream", "text/csv", "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation.

    Attributes:
        group: heading on the page.
        method, path: what is asked; names in braces are parameters.
        summary: a few words.
        text: what one must know.
        query: (name, schema, what it does) of what stands behind "?".
        body: name of the schema of the request's body; empty = none.
        status: of success.
        answer: name of the schema of the answer; empty = `media` says enough.
        media: content types of the answer.
        refusals: status codes of errors that are this operation's own.
    """

    group: str
    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    text: str = ""
    query: tuple[tuple[str, Schema, str], ...] = ()
    body: str = ""
    status: int = 200
    answer: str = ""
    media: tuple[str, ...] = (JSON,)
    refusals: tuple[int, ...] = ()


INFERENCE, RECORDS, JOBS, SERVICE = "Inference (Open Inference Protocol v2)", "Records", "Jobs", "The service itself"
_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
_INFER = (
    "One input tensor a parameter, of shape [n, 1] or [n]: FP64 for a real one, INT64 for a whole one, BYTES for a choice. The "
    "surrogate answers the points that it is sure of, the simulation the others, which takes as long as it takes. Outputs are means, "
    "the ends NAME.lower and NAME.upper of their intervals, and each row's lineage: source, rho, version, key, kept; name some of them "
    "in `outputs` to get only those. `parameters` may hold tolerance (relative error) and source (auto, surrogate, simulation). Binary "
    "tensors follow the JSON as in Triton, with its length in the header Inference-Header-Content-Length; bodies may be gzip or "
    "deflate."
)


def _of_model(suffix: str, summary: str, answer: str, text: str = "") -> tuple[Operation, ...]:
    """The same question with and without a version."""
    return tuple(
        Operation(
            group=INFERENCE,
            method="get",
            path=path + suffix,
            summary=summary + (" of the version that answers now" if path == _VERSION else ""),
            text=text,
            answer=answer,
            refusals=(404,),
        )
        for path in (_MODEL, _VERSION)
    )


def _infer(path: str, summary: str) -> Operation:
    return Operation(
        group=INFERENCE,
        method="post",
        path=f"{path}/infer",
        summary=summary,
        text=_INFER,
        body="InferRequest",
        answer="InferResponse",
        media=(JSON, BINARY),
        refusals=(400, 404, 415, 422, 429, 503),
    )


OPERATIONS: tuple[Operation, ...] = (
    _infer(_MODEL, "Ask a simulation"),
    _infer(_VERSION, "Ask a simulation, if this version of its surrogate answers now"),
    *_of_model("", "Inputs and outputs of a model", "ModelMetadata"),
    *_of_model("/ready", "Whether a model answers", "ModelReady"),
    *_of_model(
        "/config",
        "Configuration of a model",
        "ModelConfiguration",
        "As Triton tells it; bounds and units of the parameters are in `parameters`.",
    ),
    *_of_model("/stats", "What a model has answered", "ModelStatistics"),
    Operation(group=INFERENCE, method="get", path="/v2", summary="Name, version and extensions of the server", answer="ServerMetadata"),
    Operation(group=INFERENCE, method="get", path="/v2/health/live", summary="Whether the server is alive", answer="Live"),
    Operation(group=INFERENCE, method="get", path="/v2/health/ready", summary="Whether the server answers", answer="Ready"),
    Operation(group=INFERENCE, method="get", path="/v2/models/stats", summary="What all models have answered", answer="ModelStatistics"),
    Operation(
        group=INFERENCE,
        method="post",
        path="/v2/repository/index",
        summary="The models that are served",
        body="RepositoryIndexRequest",
        answer="RepositoryIndex",
        refusals=(400,),
    ),
    Operation(
        group=RECORDS,
        method="get",
        path="/v1/records",
        summary="What the store keeps of a simulation",
        text="Any parameter by its name, `NAME.min` or `NAME.max` narrows it down, and so do `settings.NAME` and `fidelity`: "
        "`/v1/records?simulation=borehole&rw.min=0.1&limit=50`.",
        query=(
            ("simulation", TEXT_SCHEMA, "Its name; needed."),
            ("outcome", OUTCOME, "How the run ended."),
            ("version", TEXT_SCHEMA, "Of the simulation."),
            ("limit", PAGE, "At most so many."),
            ("after", PLACE, "Only what was kept after this place; `next` of a page has it."),
        ),
        answer="Any",
        refusals=(400, 404, 422, 429, 503),
    ),
    Operation(
        group=RECORDS,
        method="get",
        path="/v1/records/{key}",
        summary="One record",
        text="By the key that an answer's lineage has.",
        answer="Any",
        refusals=(400, 404, 422, 429, 503),
    ),
    Operation(
        group=RECORDS,
        method="get",
        path="/v1/records/export",
        summary="All records as a file",
        query=(("simulation", TEXT_SCHEMA, "Only of this one."), ("format", FORMAT, "Default: csv.")),
        media=(CSV, PARQUET),
        refusals=(400, 404, 422, 429, 503),
    ),
    Operation(
        group=RECORDS,
        method="get",
        path="/v1/records/usage",
        summary="How much room the store takes, and its budget",
        answer="Any",
        refusals=(400, 422, 429, 503),
    ),
    Operation(
        group=JOBS,
        method="post",
        path="/v1/jobs",
        summary="Submit a job",
        text="For simulations that take longer than one likes to hold a connection open. A job that was answered 202 is on disk: it "
        "survives a crash of the server and is begun again. `Location` says where to look.",
        body="JobRequest",
        status=202,
        answer="JobView",
        refusals=(400, 404, 429, 507),
    ),
    Operation(
        group=JOBS,
        method="get",
        path="/v1/jobs",
        summary="All jobs, newest first",
        text="Those that ended are kept until 1,000 of them, or 1 GiB of results, are newer.",
        query=(("limit", WHOLE, "At most so many, up to 100."), ("before", WHOLE, "Only jobs before this number; `next` has it.")),
        answer="JobPage",
        refusals=(400,),
    ),
    Operation(group=JOBS, method="get", path="/v1/jobs/{id}", summary="State and progress of a job", answer="JobView", refusals=(404,)),
    Operation(
        group=JOBS,
        method="delete",
        path="/v1/jobs/{id}",
        summary="Cancel a job",
        text="Ends its simulations, except where others wait for them. A job that ended stays as it is; asking twice is fine.",
        answer="JobView",
        refusals=(404, 507),
    ),
    Operation(
        group=JOBS,
        method="get",
        path="/v1/jobs/{id}/result",
        summary="Result of a job",
        text="An answer a point, in order; a point without one says why. 409 until the job has ended, and for one that was cancelled.",
        answer="JobResult",
        refusals=(404, 409),
    ),
    Operation(
        group=JOBS,
        method="get",
        path="/v1/jobs/{id}/events",
        summary="Follow a job",
        text="Server-sent events `state`: the state first, then whenever it, the points done or a mark changed; ends with the job. A "
        "stream that broke off can simply be opened again.",
        media=(EVENTS,),
        refusals=(404, 429),
    ),
    Operation(
        group=SERVICE,
        method="get",
        path="/v1/events",
        summary="Follow the service",
        text="Server-sent events: `status` (a Status) of each model first and then each second in which it changed, and `audit`, "
        "`learned`, `refused`, `opened_threshold`, `closed_threshold` and `promise_broken` as they happen. A client that reads too "
        "slowly gets `lost` with the number of events.",
        media=(EVENTS,),
        refusals=(429,),
    ),
    Operation(group=SERVICE, method="get", path="/v1/status", summary="How each model does", answer="Statuses"),
    Operation(
        group=SERVICE,
        method="post",
        path="/v1/models/{model}/learn",
        summary="Learn now",
        text="Fits again from all answers so far, on the engine; the new surrogate replaces the old one only if it is better on held-out "
        "answers.",
        status=202,
        answer="Accepted",
        refusals=(404,),
    ),
    Operation(group=SERVICE, method="get", path="/metrics", summary="Figures for Prometheus", media=(TEXT,)),
    Operation(group=SERVICE, method="get", path="/", summary="Status page for people", media=(HTML,)),
    Operation(group=SERVICE, method="get", path="/status.html", summary="The part of it that changes", media=(HTML,)),
    Operation(group=SERVICE, method="get", path="/docs", summary="This description as a page", media=(HTML,)),
    Operation(group=SERVICE, method="get", path="/openapi.json", summary="This description as OpenAPI 3.1", answer="Any"),
)
REFUSALS: dict[int, str] = {
    400: "Bad input; nothing was changed.",
    401: "The token is missing or wrong.",
    403: "Sent to another host name, or from a page of another site.",
    404: "There is no such thing.",
    405: "Another method is needed.",
    408: "The body took too long to arrive.",
    409: "Not now; the sentence says when.",
    413: "The body is too large.",
    415: "The body is compressed in a way that is not understood.",
    422: "The simulation ended without an answer.",
    429: "Too much at once; `Retry-After` says, in seconds, when to come again.",
    503: "A simulation was lost, or the disk is full; try again.",
    507: "The disk is full; nothing was changed.",
}
ALWAYS = (401, 403, 405, 429)
WITH_BODY = (408, 413)
