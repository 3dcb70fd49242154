"""`/v1/jobs`: long simulations as jobs: submit, look, follow, fetch the result, cancel.

POST /v1/jobs {"model": "nanoconfinement", "x": {...} or [{...}, ...], "source": "simulation"} -> 202, Location: /v1/jobs/<id>
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mlforhpc.core.names import suggestion
from mlforhpc.core.space import Value
from mlforhpc.server.job import Job, JobView, Source, is_id, view
from mlforhpc.server.job_queue import JobsFull
from mlforhpc.server.refusals import Refused, retry_after

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

RETRY_S = 10.0
PAGE = 100
_AT_ONCE = 100

Point = dict[str, float | int | str]


class JobRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a job is asked for: a point or several, each parameter by its name; a tolerance only where the surrogate may answer."""

    model: str
    x: Point | Annotated[list[Point], msgspec.Meta(min_length=1)]
    source: Source = "simulation"
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None


class JobPage(msgspec.Struct, kw_only=True):
    """Jobs, newest first, and the address of the next page, or null."""

    jobs: list[JobView]
    next: str | None


_REQUEST = msgspec.json.Decoder(JobRequest)


def routes(service: Service) -> list[BaseRoute]:
    """Four routes below `/v1/jobs`."""
    queue = service.jobs

    async def submit(request: Request) -> Response:
        job = await _checked(service, await request.body())
        try:
            job = await queue.submit(job)
        except JobsFull as full:
            raise Refused(429, str(full), headers=retry_after(RETRY_S)) from full
        except OSError as error:
            raise Refused(
                507, f"The job cannot be written ({error.strerror}); it was not begun. Free some space and send it again."
            ) from error
        return _json(view(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    async def page(request: Request) -> Response:
        before, limit = _whole(request, "before", 1 << 53), min(_whole(request, "limit", PAGE), PAGE)
        found = [job for job in reversed(queue.jobs.values()) if job.number < before][: limit + 1]
        following = f"/v1/jobs?before={found[limit - 1].number}&limit={limit}" if len(found) > limit else None
        return _json(JobPage(jobs=[view(job) for job in found[:limit]], next=following))

    async def look(request: Request) -> Response:
        return _json(view(_job(service, request)))

    async def cancel(request: Request) -> Response:
        job = _job(service, request)
        try:
            await queue.cancel(job)
        except OSError as error:
            raise Refused(507, f"That the job is cancelled cannot be written ({error.strerror}); it goes on.") from error
        return _json(view(job))

    async def result(request: Request) -> Response:
        job = _job(service, request)
        if not job.ended:
            raise Refused(409, f"Job {job.id} is {job.state}; its result is there when it is done.", headers=retry_after(1.0))
        try:
            return Response(await queue.result(job), media_type="application/json")
        except FileNotFoundError:
            raise Refused(409, f"Job {job.id} is {job.state} and has no result. {job.sentence}".strip()) from None

    async def follow(request: Request) -> ASGIApp:
        job = _job(service, request)
        return queue.follow(job)

    async def all_jobs(request: Request) -> Response:
        return await (submit if request.method == "POST" else page)(request)

    async def one_job(request: Request) -> Response:
        return await (cancel if request.method == "DELETE" else look)(request)

    return [
        Route("/v1/jobs", all_jobs, methods=["GET", "POST"]),  # one route, so that a 405 names both methods
        Route("/v1/jobs/{id}", one_job, methods=["GET", "DELETE"]),
        Route("/v1/jobs/{id}/result", result, methods=["GET"]),
        Route("/v1/jobs/{id}/events", follow, methods=["GET"]),
    ]


def _job(service: Service, request: Request) -> Job:
    id = request.path_params["id"]
    job = service.jobs.jobs.get(id) if is_id(id) else None
    if job is None:
        raise Refused(404, "There is no such job: its id is wrong, or it ended long ago and was dropped to make room.")
    return job


async def _checked(service: Service, body: bytes) -> Job:
    """The job of a request, with every point inside its space."""
    try:
        asked = _REQUEST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f'A job is JSON like {{"model": ..., "x": {{parameter: value}}}}, found: {error}.') from None
    online = service.onlines.get(asked.model)
    if online is None:
        near = suggestion(asked.model[:100], service.onlines)
        raise Refused(404, f"No simulation of that name is served; there are {', '.join(service.onlines)}.{near}")
    given = asked.x if isinstance(asked.x, list) else [asked.x]
    if len(given) > service.limits.rows:
        raise Refused(400, f"A job has at most {service.limits.rows} points, found {len(given)}; send several jobs.")
    space, points = online.simulation.space, list[dict[str, Value]]()
    for index, point in enumerate(given):
        points.append(space.point(space.row(point)))
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    online.look(space.row(points[0])[None], asked.tolerance)  # refuses a tolerance that cannot be promised
    return Job(model=asked.model, x=points, source=asked.source, tolerance=asked.tolerance)


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) > 0):
        raise Refused(400, f"'{name}' must be a whole number above 0.")
    return int(text)


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")
