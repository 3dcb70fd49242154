"""Answers with a promise: a load generator that hides nothing, what is INVALID, what streams and growth count, truths that find faults."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mlforhpc.campaign import Campaign
from mlforhpc.core.result import Interval
from mlforhpc.learners import gaussian_process
from mlforhpc.scenarios import answering_truths as truths
from mlforhpc.scenarios.answering import Answering, Growth, Spent, Stream, StreamJob, grow, streamed
from mlforhpc.scenarios.answering_load import Arrivals, Generator, Met, answer_of, body
from mlforhpc.scenarios.answering_result import judged, result
from mlforhpc.scenarios.answering_server import AtLoad, Loaded
from mlforhpc.scenarios.gate import EvidenceLaw
from mlforhpc.scenarios.online import Terms
from mlforhpc.simulations import nanoconfinement_twin as twins

QUICK = gaussian_process.create(folds=2, components=3, searched=40)
JOB = StreamJob(
    law="evidence", case="uniform", seed=0, requests=30, tolerance=0.3, fidelity=twins.FIDELITY, learner=QUICK, corner={}
)  # fmt: skip
SPENT = Spent(simulations=10, simulation_s=20.0, audit_runs=2, audit_s=4.0, fits=1, fit_s=3.0)
STREAM = Stream(
    job=JOB, answered=100, answered_late=1.0, broken_share=0.05, error=0.5, limit=0.2, limit_held=True,
    curve=((1, None, None), (30, 0.05, 0.2)), spent=SPENT,
)  # fmt: skip
MET = Met(
    arrived=100, answered=97, rate_per_s=50.0, latency_s={"surrogate": (1e-3, 2e-3, 3e-3, 4e-3)}, answers={"surrogate": 97}, refused=3,
    without_time=0, wrong=0, late_s=1e-4, checked=10, broken=0,
)  # fmt: skip
AT = AtLoad(share=0.5, offered_per_s=50.0, beside_learning=False, met=MET, audits=5, broken_audits=0, fits=0)
LOADED = Loaded(peak_per_s=100.0, learned_s=9.0, runs=100, loads=(replace(AT, share=0.25), AT, replace(AT, beside_learning=True)))
GROWTH = Growth(
    simulation="nanoconfinement", requests=3, tolerance=0.1, answers={"surrogate": 1, "simulation": 2, "store": 0}, noise=0.02, limit=1.0,
    grown=((1, None, None), (2, 0.9, 0.8), (3, 1.5, 1.2)), spent=SPENT, makespan_s=9.0,
)  # fmt: skip


def verdict(*streams: Stream, loaded: Loaded | None = None, installation: bool = False, failures: tuple[str, ...] = ()):
    """Of these."""
    found = Answering(streams=streams, loaded=loaded, growth=None, failures=failures)
    return judged(found, target=0.1, installation=installation)


def test_one_stream_that_breaks_the_promise_makes_a_run_invalid() -> None:
    """Whatever the others do; the baseline's law is not judged, and an installation check judges no shares."""
    broken = replace(STREAM, broken_share=0.101)
    assert verdict(STREAM).status == "VALID" and verdict(STREAM).ranked
    assert verdict(STREAM, broken).status == "INVALID" and "0.101" in verdict(STREAM, broken).reason
    baseline = replace(broken, job=replace(JOB, law="proxima"))
    assert verdict(STREAM, baseline).status == "VALID"
    assert verdict(baseline).reason == "no stream of the evidence law was followed"
    assert verdict(broken, installation=True).status == "VALID" and not verdict(STREAM, installation=True).ranked


def test_a_limit_below_the_truth_is_invalid_where_95_in_100_would_not_allow_it() -> None:
    """One of three, also in an installation check; of twenty, two may."""
    fell = replace(STREAM, limit_held=False)
    assert verdict(STREAM, STREAM, fell).status == "INVALID" and verdict(fell, installation=True).status == "INVALID"
    assert verdict(*[STREAM] * 18, fell, fell).status == "VALID"
    assert verdict(*[STREAM] * 17, fell, fell, fell).status == "INVALID"


def test_refusals_with_a_time_are_right_and_everything_else_is_invalid() -> None:
    """A 429 is back-pressure; one without a time, a lost request, a part that failed are not."""
    assert verdict(STREAM, loaded=LOADED).status == "VALID"
    for fault in ({"wrong": 1}, {"without_time": 1}):
        bad = replace(LOADED, loads=(replace(AT, met=replace(MET, **fault)),))
        assert verdict(STREAM, loaded=bad).status == "INVALID"
    assert "it fell" in verdict(STREAM, failures=("it fell",)).reason


def test_the_headline_quotes_the_load_nearest_half_of_the_peak_and_the_end_of_growth() -> None:
    """Quality holds no time: what follows from the seed alone; a part that was left out is told."""
    found = Answering(streams=[STREAM], loaded=LOADED, growth=GROWTH, skipped=["Growth: install it"])
    made = result(found, target=0.1, installation=False, references=["a"])
    assert made.headline["p99 at 0.5 of the peak, surrogate, ms"].value == 3.0
    assert (made.headline["effective speedup"].value, made.headline["gain"].value) == (1.5, 1.2)
    assert isinstance(made.headline["worst broken share"], Interval) and made.headline["worst broken share"].value == 0.05
    assert not [name for name in made.quality if "_s" in name.split("[")[0].replace("_share", "").replace("_simulations", "")]
    assert made.performance["refused_share[0.5 of the peak]"] == 0.03
    assert {figure.name for figure in made.figures} == {"promise", "latency", "growth"}
    assert {table.name for table in made.tables} == {"streams", "costs", "loads", "skipped"}


def test_a_stream_counts_what_was_simulated_audited_and_fitted(tmp_path) -> None:
    """Thirty requests: all simulated before there is evidence; the costs are the ledger's."""
    twin = twins.create()
    with Campaign(tmp_path, engine="serial") as campaign:
        found = streamed(campaign.broker, twin, twin.truth, JOB, folder=tmp_path / "online")
    assert (found.answered, found.broken_share, found.limit, found.error) == (0, 0.0, None, None) and found.limit_held
    assert found.spent.simulations == 30 and found.spent.audit_runs == 0 and found.spent.fits >= 1
    assert found.spent.fit_s > found.spent.simulation_s > 0
    assert found.curve[0] == (1, None, None) and found.curve[-1][0] == 30


@pytest.mark.system
def test_growth_is_told_request_by_request_and_is_the_same_on_every_engine(tmp_path) -> None:
    """80 requests to the twin: the surrogate answers at last, audits are paid for, the counts have the same digits."""
    found = []
    for engine in ("serial", "processes"):
        with Campaign(tmp_path / engine, engine=engine) as campaign:
            terms = Terms(tolerance=0.3, fidelity=twins.FIDELITY, learner=QUICK, audit=0.3, seed=1)
            found.append(grow(campaign.broker, twins.create(), n=80, terms=terms, folder=tmp_path / engine / "online"))
    assert found[0].answers == found[1].answers and found[0].limit == found[1].limit and found[0].noise == found[1].noise
    growth = found[0]
    assert [n for n, _, _ in growth.grown] == list(range(1, 81)) and growth.answers["surrogate"] > 10
    assert 0 < growth.spent.audit_runs < growth.answers["surrogate"]
    assert growth.spent.simulations == growth.answers["simulation"] + growth.spent.audit_runs
    assert 0 < growth.spent.audit_s < growth.spent.simulation_s


@pytest.mark.system
def test_growth_goes_on_where_it_stopped(tmp_path) -> None:
    """Twelve requests, then twenty in the same folder: eight more runs, and one curve."""
    terms = Terms(tolerance=0.3, fidelity=twins.FIDELITY, learner=QUICK, seed=1)
    for n in (12, 20):
        with Campaign(tmp_path, engine="serial") as campaign:
            growth = grow(campaign.broker, twins.create(), n=n, terms=terms, folder=tmp_path / "online")
    assert growth.answers["simulation"] == growth.spent.simulations == sum(growth.answers.values()) == 20
    assert [n for n, _, _ in growth.grown][-8:] == list(range(13, 21))


ANSWER = {"outputs": [
    {"name": "cation", "data": [99.0] * 64}, {"name": "anion", "data": [99.0] * 64},
    {"name": "source", "datatype": "BYTES", "shape": [1], "data": ["surrogate"]}, {"name": "rho", "data": [0.3]},
    {"name": "version", "data": ["v"]},
]}  # fmt: skip


@contextmanager
def slow(delay_s: float, *, refuse_every: int = 0) -> Iterator[int]:
    """A server of one thread that answers one request at a time, each after a delay: its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    content = json.dumps(ANSWER, separators=(",", ":")).encode()
    turn, count = threading.Lock(), [0]

    def serve(connection: socket.socket) -> None:
        with connection:
            while got := connection.recv(1 << 16):
                assert got.startswith(b"POST ")
                with turn:
                    time.sleep(delay_s)
                    count[0] += 1
                    refused = refuse_every and count[0] % refuse_every == 0
                head = b"HTTP/1.1 429 no\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n" if refused else (
                    b"HTTP/1.1 200 ok\r\ncontent-length: %d\r\n\r\n" % len(content) + content
                )  # fmt: skip
                connection.sendall(head)

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def arrivals(port: int, rate_per_s: float, connections: int = 4) -> Arrivals:
    """Half a second of them."""
    return Arrivals(
        host="127.0.0.1", port=port, simulation="nanoconfinement_twin", rate_per_s=rate_per_s, duration_s=0.5, connections=connections,
        simulated=0.1, corner={}, tolerance=0.3, seed=0,
    )  # fmt: skip


def test_a_server_that_falls_behind_cannot_hide_it() -> None:
    """One answer takes 10 ms and 200 a second arrive: latency counts from the arrival that was meant, so it grows to half a second."""
    with slow(0.01) as port:
        met = Generator(arrivals(port, 200.0)).run()
        alone = Generator(arrivals(port, 5.0)).run()
    p50, _, p99, largest = met.latency_s["surrogate"]
    assert met.answered == met.arrived > 60 and met.wrong == 0
    assert largest >= p99 > 0.25 and p50 > 0.08 and met.rate_per_s < 110
    assert alone.latency_s["surrogate"][0] < 0.05


def test_the_peak_is_that_of_a_closed_loop_and_refusals_are_counted_apart() -> None:
    """Of a server that answers one after another in 5 ms at most 200 a second; every fourth answer is a 429 with a time."""
    with slow(0.005, refuse_every=4) as port:
        met = Generator(arrivals(port, 0.0)).run()
    assert met.arrived == met.answered + met.refused and met.wrong == 0 and met.without_time == 0
    assert met.refused == met.arrived // 4 and 50 < met.rate_per_s < 160
    assert met.checked == met.answered // 10 and met.broken == met.checked  # such profiles are wrong everywhere


def test_answers_and_requests_are_those_of_the_protocol() -> None:
    """Whole numbers are INT64; an answer's arrays have their shapes."""
    sent = json.loads(body(twins.Twin.space, np.array([[3.5, 0.5, 2.0, 0.6]]), "simulation"))
    assert [(one["name"], one["datatype"], one["data"]) for one in sent["inputs"]][2] == ("z", "INT64", [2])
    assert sent["parameters"] == {"source": "simulation"}
    answer, source = answer_of(twins.create(), json.dumps(ANSWER).encode())
    assert source == "surrogate" and answer.values["anion"].shape == (64,)


def failing() -> set[str]:
    """Names of the checks that fail."""
    return {check.name for check in truths.checks() if not check.passed}


def test_the_truths_find_a_limit_that_forgets_violations_and_a_law_that_never_closes(monkeypatch) -> None:
    """As they are, all pass; a limit of 3 / p whatever audits found, and a gate that stays open, do not."""
    assert failing() == set()
    monkeypatch.setattr(truths, "most_broken", lambda found, *, answers, lowest, alpha: math.log(20) / lowest)
    assert {"limit, 0 broken, p 0.05", "limit, 3 broken, p 0.05"} <= failing()
    monkeypatch.undo()
    monkeypatch.setattr(EvidenceLaw, "_close", lambda self: False)
    assert "the gate closes" in failing()
    monkeypatch.undo()
    monkeypatch.setattr(truths, "EvidenceLaw", lambda delta: truths.Always())
    monkeypatch.setattr(truths, "_closes", lambda: next(iter(truths.checks())))
    assert "evidence keeps the promise" in {check.name for check in truths._laws() if not check.passed}
