"""The online scenario on a quick simulation: who answers, what is promised, what survives a restart, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.campaign import Campaign
from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import OutOfBounds, TaskError, UsageError
from mlforhpc.core.learner import Dataset, Surrogate
from mlforhpc.core.simulation import Output, Outputs, Simulation
from mlforhpc.core.space import Real, Space
from mlforhpc.learners import gaussian_process
from mlforhpc.scenarios.online import Busy, Online, Terms
from mlforhpc.scenarios.online_book import MOST_GATES
from mlforhpc.scenarios.request_streams import Overconfident
from mlforhpc.simulations._function import simulation

SPACE = Space(a=Real(0.0, 1.0), b=Real(0.0, 1.0))
Y = Output(name="y", scale=1.0)


def wave(a: float, b: float) -> float:
    """Smooth, so that few runs teach it."""
    return float(np.sin(3.0 * a) + a * b)


def noisy(a: float, b: float, seed: int) -> Outputs:
    """The wave with an error of 0.1 that is stated."""
    y = wave(a, b) + 0.1 * np.random.default_rng(seed).standard_normal()
    return Outputs(values={"y": np.array(y)}, standard_errors={"y": np.array(0.1)})


def failing(a: float, b: float) -> float:
    """Fails in a quarter of the space."""
    if a > 0.5 and b > 0.5:
        raise RuntimeError("no convergence")
    return wave(a, b)


def waiting(a: float, b: float) -> float:
    """Runs until a file says that it may end."""
    import time

    while not Path("/tmp").joinpath(f"mlforhpc-go-{a}").exists():
        time.sleep(0.01)
    return b


def gone(a: float, b: float, seed: int) -> Outputs:
    """Zero in a corner of the space, with an error that is stated."""
    y = a if a > 0.1 else 0.0
    return Outputs(values={"y": np.array(y)}, standard_errors={"y": np.array(1e-3)})


def made(function: object, name: str = "wave") -> Simulation:
    """A simulation of two parameters."""
    return simulation(function, name=name, version="1", space=SPACE, outputs=[Y])


QUICK = Terms(tolerance=0.05, learner=gaussian_process.create(folds=4))


@contextmanager
def online(folder: Path, what: Simulation, terms: Terms = QUICK, engine: str = "serial") -> Iterator[Online]:
    """A scenario in a campaign of its own."""
    with Campaign(folder, engine=engine) as campaign, Online(campaign.broker, what, folder=folder / "online", terms=terms) as made:
        yield made


def ask(service: Online, n: int, *, seed: int = 0, low: float = 0.0) -> list[str]:
    """Sources of n answers at random points, one after the other."""
    rng, sources = np.random.default_rng(seed), []
    for a, b in low + (1.0 - low) * rng.random((n, 2)):
        sources.append(service.ask({"a": float(a), "b": float(b)}).source)
        service.settle()
    return sources


def test_the_simulation_answers_until_the_evidence_suffices_and_then_the_surrogate_does(tmp_path: Path) -> None:
    """From an empty store: 200 requests, of which the last 50 are the surrogate's, all within the tolerance."""
    with online(tmp_path, made(wave)) as service:
        sources = ask(service, 200)
        assert sources[:12] == ["simulation"] * 12
        assert sources[-50:].count("surrogate") >= 45
        status = service.status()
        assert status.answers["surrogate"] == sources.count("surrogate")
        assert status.open_threshold > 0 and status.broken == 0 and status.broken_limit is not None
        answer = service.ask({"a": 0.3, "b": 0.4})
        assert answer.surrogate_version == status.surrogate_version and answer.source == "surrogate"
        assert answer.lower["y"] <= answer.values["y"] <= answer.upper["y"]
        assert float(answer.values["y"]) == pytest.approx(wave(0.3, 0.4), abs=0.05)


def test_a_point_that_was_run_is_answered_from_the_store(tmp_path: Path) -> None:
    """The same point twice, before there is a surrogate: one run, the second answer says where it came from."""
    with online(tmp_path, made(wave)) as service:
        first, second = (service.ask({"a": 0.5, "b": 0.5}) for _ in range(2))
        assert (first.source, second.source) == ("simulation", "store")
        assert first.key == second.key and first.values["y"] == second.values["y"]
        assert service.status().simulation_cost_s is not None


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    """Surrogate, evidence, counts and costs are those of before; nothing is simulated again."""
    with online(tmp_path, made(wave)) as service:
        ask(service, 150)
        before = service.status()
    with online(tmp_path, made(wave)) as service:
        after = service.status()
        assert replace(after, events=before.events) == before
        assert ask(service, 20, seed=9).count("surrogate") >= 18


@pytest.mark.system
def test_audits_under_way_at_the_end_are_scored_by_the_next_session(tmp_path: Path) -> None:
    """The state of a server that was killed: an audit was drawn, its run is missing; the next session runs and scores it."""
    terms = replace(QUICK, audit=1.0)
    with online(tmp_path, made(wave), terms) as service:
        ask(service, 80)
        scored = service.status().audits
    file = tmp_path / "online" / "state.json"
    state = json.loads(file.read_bytes())
    pending = {"id": 10**6, "x": [0.11, 0.22], "half": 0.01, "tolerance": 0.05, "version": state["version"], "answered": True}
    state["pending"] = [{**pending, "probability": 1.0, "weight": 1.0, "replicas": [0]}]
    state["share"]["answers"][0] += 1
    state["share"]["drawn"] = [{"id": 10**6, "group": 0, "probability": 1.0, "answers": state["share"]["answers"], "broken": None}]
    file.write_text(json.dumps(state))
    with online(tmp_path, made(wave), terms) as service:
        assert service.settle(60)
        assert service.status().audits == scored + 1 and service.status().waiting_audits == 0


@pytest.mark.system
def test_a_damaged_surrogate_is_told_and_fitted_again(tmp_path: Path) -> None:
    """A flipped byte in its file: the next session says so, learns from the store, and answers again."""
    with online(tmp_path, made(wave)) as service:
        ask(service, 120)
        version = service.status().surrogate_version
    file = tmp_path / "online" / "surrogates" / f"{version}.safetensors"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with online(tmp_path, made(wave)) as service:
        assert service.settle(60)
        assert any("fitted again" in text for _, text in service.status().events)
        assert service.status().surrogate_version not in ("", version) or service.status().fits > 0
        assert ask(service, 10, seed=3).count("surrogate") >= 8


def test_a_damaged_state_stops_the_start_with_the_way_out(tmp_path: Path) -> None:
    """Evidence that cannot be read is not made up."""
    with online(tmp_path, made(wave)) as service:
        ask(service, 3)
    (tmp_path / "online" / "state.json").write_text("{")
    with pytest.raises(Exception, match="Remove it to begin the gate's evidence anew"), online(tmp_path, made(wave)):
        pass


def test_a_tolerance_below_twice_the_noise_is_refused_and_above_it_granted(tmp_path: Path) -> None:
    """Runs with an error of 0.1: 0.1 is refused with the least that can be had, 0.5 is granted, once twenty runs are known."""
    with online(tmp_path, made(noisy, "noisy"), replace(QUICK, tolerance=0.5)) as service:
        ask(service, 24)
        with pytest.raises(UsageError, match=r"ask for at least twice that, 0\.2"):
            service.ask({"a": 0.1, "b": 0.1}, tolerance=0.1)
        assert service.ask({"a": 0.1, "b": 0.1}, tolerance=0.5).source == "simulation"


@pytest.mark.system
def test_where_runs_are_noisy_two_of_them_judge_a_prediction(tmp_path: Path) -> None:
    """At tolerance 0.3 the noise of 0.1 exceeds a quarter: each scored fallback has a second run of its own seed."""
    with online(tmp_path, made(noisy, "noisy"), replace(QUICK, tolerance=0.3)) as service:
        ask(service, 40)
        runs = list(service._broker.store.scan("noisy"))
        assert len({r.seed for r in runs}) == len(runs) > 45  # no two runs share their noise


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tmp_path: Path, tolerance: float) -> None:
    """Bad input changes nothing."""
    with online(tmp_path, made(wave)) as service:
        with pytest.raises(UsageError, match="tolerance must be a relative error above 0"):
            service.ask({"a": 0.1, "b": 0.1}, tolerance=tolerance)
        assert sum(service.status().answers.values()) == 0


def test_more_tolerances_than_there_are_gates_get_a_smaller_one(tmp_path: Path) -> None:
    """Nobody who asks for many shuts the others out; below all that are in use it is a sentence."""
    with online(tmp_path, made(wave), QUICK) as service:
        x = {"a": 0.5, "b": 0.5}
        for i in range(MOST_GATES):
            service.ask(x, tolerance=0.1 * 1.13**i)
        full = service.look(np.array([[0.5, 0.5]]), 0.1 * 1.13 ** (MOST_GATES + 20)).tolerance
        assert 0.1 * 1.13 ** (MOST_GATES - 3) < full < 0.1 * 1.13**MOST_GATES
        assert service.ask(x, tolerance=0.1 * 1.13 ** (MOST_GATES + 20)).source == "store"
        with pytest.raises(UsageError, match="different tolerances"):
            service.ask(x, tolerance=0.01)


def test_a_point_outside_the_space_is_refused(tmp_path: Path) -> None:
    """Before anything is run."""
    with online(tmp_path, made(wave)) as service, pytest.raises(OutOfBounds, match="'a' must be"):
        service.ask({"a": 2.0, "b": 0.1})


@pytest.mark.system
def test_values_of_zero_are_scored_kept_and_learned_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Relative to themselves their errors are infinite: they count as the largest there is, and the state can be read again."""
    what = simulation(gone, name="gone", version="1", space=SPACE, outputs=[Output(name="y")])
    with online(tmp_path, what, terms=replace(QUICK, tolerance=100.0)) as service:
        ask(service, 120)
        assert service.settle(60.0)
        before = service.status()
        assert before.runs > 20 and before.waiting_audits == 0 and service.surrogate is not None
    with online(tmp_path, what, terms=replace(QUICK, tolerance=100.0)) as service:
        assert service.status().answers == before.answers
    assert not caplog.records  # where futures tell of callbacks that raised


def test_a_failed_run_is_an_error_with_its_traceback_and_is_not_run_again(tmp_path: Path) -> None:
    """The answer raises; the record is kept, so that the same request fails at once."""
    with online(tmp_path, made(failing, "failing")) as service:
        for _ in range(2):
            with pytest.raises(TaskError, match="no convergence"):
                service.ask({"a": 0.9, "b": 0.9})
        assert service.status().waiting_answers == 0
        assert len(list(service._broker.store.scan("failing"))) == 1


def test_a_full_queue_refuses_with_a_time_and_changes_nothing(tmp_path: Path) -> None:
    """Two runs may wait: the third request is refused; when the two are over there is room again."""
    gates = [Path(f"/tmp/mlforhpc-go-{a}") for a in (0.125, 0.25, 0.5)]
    for gate in gates:
        gate.unlink(missing_ok=True)
    try:
        with online(tmp_path, made(waiting, "waiting"), replace(QUICK, queue=2), "processes") as service:
            looks = [service.look(np.array([[a, 0.5]])) for a in (0.125, 0.25, 0.5)]
            futures = [service.serve(look)[0] for look in looks[:2]]
            with pytest.raises(Busy, match="2 simulations are waiting") as busy:
                service.serve(looks[2])
            assert busy.value.retry_after_s >= 1.0
            assert service.status().waiting_answers == 2
            for gate in gates:
                gate.touch()
            wait(futures, timeout=60)
            assert service.serve(looks[2])[0].result(60).source == "simulation"
    finally:
        for gate in gates:
            gate.unlink(missing_ok=True)


def test_an_answer_nobody_waits_for_is_cancelled(tmp_path: Path) -> None:
    """Its run is killed and its place in the queue is free."""
    with online(tmp_path, made(waiting, "waiting"), QUICK, "processes") as service:
        future = service.serve(service.look(np.array([[0.75, 0.5]])))[0]
        assert service.cancel(future)
        with pytest.raises(TaskError):
            future.result(60)
        assert service.status().waiting_answers == 0


@dataclass
class Worsening:
    """Good at first, then with intervals far too wide."""

    name: str = "gaussian_process"

    def fit(self, data: Dataset, *, seed: int, broker: Broker | None = None) -> Surrogate:
        """See Learner."""
        factor = 1.0 if len(data) < 12 else 1e-8
        return Overconfident(gaussian_process.create(folds=4), factor).fit(data, seed=seed)


@pytest.mark.system
def test_a_surrogate_that_is_no_better_does_not_replace_the_one_before(tmp_path: Path) -> None:
    """The later fits are worse on held-out answers: the first version answers to the end, and the refusals are told."""
    with online(tmp_path, made(wave), replace(QUICK, learner=Worsening())) as service:
        ask(service, 60)
        status = service.status()
        assert (status.accepted, status.refused > 0) == (1, True)
        assert "was refused" in status.last_learned


@pytest.mark.system
def test_intervals_that_are_too_narrow_do_not_break_the_promise(tmp_path: Path) -> None:
    """Intervals of a third of their width: the gate goes by what was found, not by what the intervals claim."""
    terms = Terms(tolerance=0.4, learner=Overconfident(gaussian_process.create(folds=4)), audit=0.2)
    broken = answered = 0
    with online(tmp_path, made(noisy, "noisy"), terms) as service:
        for a, b in np.random.default_rng(1).random((150, 2)):
            answer = service.ask({"a": float(a), "b": float(b)})
            service.settle()
            answered += answer.source == "surrogate"
            broken += answer.source == "surrogate" and abs(float(answer.values["y"]) - wave(a, b)) > 0.4
    assert answered > 20
    assert broken <= 0.1 * answered


def test_outputs_that_are_zero_are_no_trouble(tmp_path: Path) -> None:
    """An error relative to nothing is zero or beyond every tolerance, never an exception."""
    with online(tmp_path, simulation(lambda a, b: 0.0, name="nothing", version="1", space=SPACE, outputs="y")) as service:
        assert ask(service, 60)[0] == "simulation"
        assert service.status().noise == 0.0


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    """Eight threads, 400 requests on two slots: every answer is counted once, and none is wrong."""
    with online(tmp_path, made(wave), QUICK, "processes") as service:
        sources: list[str] = []

        def client(seed: int) -> None:
            for a, b in np.random.default_rng(seed).random((50, 2)):
                answer = service.ask({"a": float(a), "b": float(b)})
                assert abs(float(answer.values["y"]) - wave(a, b)) < 0.2
                sources.append(answer.source)

        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert service.settle(60)
        assert sum(service.status().answers.values()) == len(sources) == 400
        assert service.status().waiting_answers == service.status().waiting_audits == 0
