"""The scenario `surrogate`: budgets, failures, fallback, resumption and replay, on real engines and stores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mlforhpc import Campaign, Output, Outputs, Real, Space, simulation, surrogate
from mlforhpc.core import trace
from mlforhpc.core.errors import OutOfBounds, TaskError, UsageError
from mlforhpc.core.names import load
from mlforhpc.scenarios.replay import replay
from mlforhpc.scenarios.surrogate import describe_failures
from mlforhpc.scenarios.validation import compare

SPACE = Space(a=Real(0, 1, unit="m"), b=Real(-1, 1))


def wave(a: float, b: float) -> float:
    """A smooth function of two parameters."""
    return math.sin(3 * a) + b**2


def half_broken(a: float, b: float) -> float:
    """Fails where a > 0.5."""
    if a > 0.5:
        raise FloatingPointError("the solver diverged")
    return wave(a, b)


def noisy(a: float, b: float, seed: int) -> Outputs:
    """The wave with a stated error of 0.05."""
    value = wave(a, b) + 0.05 * np.random.default_rng(seed).standard_normal()
    return Outputs(values={"y": np.array(value)}, standard_errors={"y": np.array(0.05)})


def make(function, name="wave"):
    """A simulation of one number around a function of this file."""
    return simulation(function, name=name, space=SPACE, outputs=[Output(name="y", scale=1.0)], version="1")


@pytest.fixture
def campaign(tmp_path):
    """A campaign on the engine `serial`."""
    with Campaign(tmp_path / "c", engine="serial") as opened:
        yield opened


def decisions(folder: Path):
    """(decision, data) of a campaign, in order."""
    return [(e.decision, e.data) for e in trace.read(folder / "events.jsonl") if isinstance(e, trace.Decision)]


def test_a_budget_of_runs_gives_an_accurate_surrogate(campaign):
    """40 runs of a smooth function of two parameters: held-out error below 1 %, coverage above one half."""
    learned = surrogate(campaign.broker, make(wave), budget=40, validation_runs=16, seed=1)
    assert len(learned.data) == 40 and learned.validation.runs == 16
    assert learned.validation.error < 0.01 and learned.validation.coverage > 0.5
    assert not learned.failures


def test_same_seed_same_numbers_on_every_engine(tmp_path):
    """The surrogate's content hash is the same on serial and on processes."""
    versions = set()
    for engine in ("serial", "processes"):
        with Campaign(tmp_path / engine, engine=engine, slots=2 if engine == "processes" else None) as campaign:
            versions.add(surrogate(campaign.broker, make(noisy), budget=12, seed=3).surrogate.version)
    assert len(versions) == 1


def test_a_budget_of_time_is_not_overspent_by_more_than_the_runs_in_flight(campaign):
    """Runs of 20 ms and 0.3 core-s: about 15 runs, never 20."""
    learned = surrogate(campaign.broker, make(slow, "slow"), budget="0.3 core-s", seed=0)
    assert 5 <= len(learned.data) <= 20


def slow(a: float, b: float) -> float:
    """20 ms of waiting."""
    import time

    time.sleep(0.02)
    return wave(a, b)


@pytest.mark.parametrize("budget", [1, True, 0, "10", "10 minutes", "-1 core-min", "0 core-s", 3.5])
def test_a_bad_budget_is_refused_before_anything_runs(campaign, budget):
    """The sentence says what a budget looks like; nothing was submitted."""
    with pytest.raises(UsageError, match="10 core-min"):
        surrogate(campaign.broker, make(wave), budget=budget)
    assert not list(campaign.broker.store.scan())


def test_a_simulation_that_fails_for_part_of_the_space(campaign):
    """The campaign goes on, failed runs are kept, and the sentence names the part of the space and the reason."""
    learned = surrogate(campaign.broker, make(half_broken, "half"), budget=32, seed=0)
    assert int(learned.data.ok.sum()) == 16
    (sentence,) = learned.failures
    assert "16 of 32" in sentence and "a 0.5" in sentence and "the solver diverged" in sentence
    assert {r.outcome for r in campaign.broker.store.scan()} == {"ok", "failed"}


def test_a_simulation_that_always_fails_says_why(campaign):
    """Fewer than two successes: a sentence with the commonest reason, not a crash in the learner."""
    with pytest.raises(UsageError, match=r"found 0 of 4.*always wrong"):
        surrogate(campaign.broker, make(always_fails, "never"), budget=4)


def always_fails(a: float, b: float) -> float:
    """No parameters are good."""
    raise ValueError("always wrong")


def test_fallback_answers_itself_when_sure_and_asks_the_simulation_when_not(campaign):
    """A wide tolerance is answered by the surrogate; a narrow one by the simulation, exactly, and the run is kept."""
    learned = surrogate(campaign.broker, make(wave), budget=30, seed=0)
    x = {"a": 0.3, "b": 0.4}
    sure = learned.ask(x, tolerance=0.5)
    assert sure.source == "surrogate" and abs(sure.values["y"] - wave(**x)) < 0.05
    assert sure.lower["y"] <= sure.values["y"] <= sure.upper["y"] and sure.surrogate_version == learned.surrogate.version
    unsure = learned.ask(x, tolerance=1e-12)
    assert unsure.source == "simulation" and unsure.values["y"] == wave(**x) and unsure.rho > 1
    assert campaign.broker.store.get(unsure.key).outputs["y"] == wave(**x)
    before = len(list(campaign.broker.store.scan()))
    assert learned.ask(x, tolerance=1e-12).key == unsure.key and len(list(campaign.broker.store.scan())) == before


def test_fallback_refuses_bad_input_and_reports_a_failed_run(campaign):
    """Out of bounds, bad tolerances, and a simulation that fails where the surrogate is not sure."""
    learned = surrogate(campaign.broker, make(half_broken, "half"), budget=16, seed=0)
    with pytest.raises(OutOfBounds):
        learned.ask({"a": 2.0, "b": 0.0}, tolerance=0.1)
    for tolerance in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="tolerance"):
            learned.ask({"a": 0.2, "b": 0.0}, tolerance=tolerance)
    with pytest.raises(TaskError, match="diverged"):
        learned.ask({"a": 0.9, "b": 0.0}, tolerance=1e-12)


def test_opening_the_folder_again_repeats_no_simulation(tmp_path):
    """The second session finds every run in the store and arrives at the same surrogate."""
    found = []
    for _ in range(2):
        with Campaign(tmp_path / "c", engine="serial") as campaign:
            found.append(surrogate(campaign.broker, make(noisy), budget=10, seed=5).surrogate.version)
    assert found[0] == found[1]
    simulated = [e for e in trace.read(tmp_path / "c" / "events.jsonl") if isinstance(e, trace.Submitted) and e.kind == "simulate"]
    assert len(simulated) == 10
    assert sum(name == "reused" for name, _ in decisions(tmp_path / "c")) == 10


def test_replay_makes_the_same_decisions(tmp_path):
    """Every ask and the surrogate's hash come out again; a changed proposal is found."""
    with Campaign(tmp_path / "c", engine="serial") as campaign:
        surrogate(campaign.broker, load("simulations", "branin").create(), budget=12, seed=2)
        store = campaign.broker.store
        log = decisions(tmp_path / "c")
        same = list(replay(iter(log), store, lambda name: load("simulations", name).create()))
        assert [r.decision for r in same] == ["strategy", "ask", "learned"] and all(r.same for r in same)
        forged = [(name, {**data, "x": [[0.0] * 2, *data["x"][1:]]} if name == "ask" else data) for name, data in log]
        assert [r.same for r in replay(iter(forged), store, lambda name: load("simulations", name).create())] == [True, False, True]


def test_validation_takes_the_runs_own_noise_out(campaign):
    """Against runs of stated error 0.05, an exact surrogate has an error near 0, not near 0.05."""
    learned = surrogate(campaign.broker, make(noisy), budget=60, validation_runs=64, seed=0)
    assert learned.validation.error < 0.04 < 0.1 < learned.validation.worst


def test_describing_no_failure_and_comparing_with_nothing(campaign):
    """No failures, no sentence; no held-out run, no number."""
    learned = surrogate(campaign.broker, make(wave), budget=8, seed=0)
    assert describe_failures(learned.data, learned.records) == []
    assert math.isnan(compare(learned.surrogate, learned.data.rows(np.array([], dtype=int))).error)


def test_a_tolerance_is_reached_and_foreseen(campaign):
    """It stops by itself with a true error below the tolerance; what was foreseen, seen and decided is in the trace."""
    learned = surrogate(campaign.broker, make(wave), tolerance=0.003, seed=0)
    points = learned.data.space.decode(np.random.default_rng(9).random((500, 2)))
    mean = learned.surrogate.predict(points).mean["y"]
    assert np.sqrt(np.mean((mean - np.array([wave(*p) for p in points])) ** 2)) <= 0.003
    assert learned.course.looks[-1].upper <= 0.003 and learned.course.looks[-1].runs == len(learned.data) < 60
    assert learned.course.stopped.startswith(f"tolerance 0.003 reached, {len(learned.data)} runs")
    log = decisions(campaign.folder)
    assert [d["runs"] for name, d in log if name == "look"] == [one.runs for one in learned.course.looks]
    assert ("stop", {"reason": learned.course.stopped}) in log


def test_a_budget_ends_what_a_tolerance_does_not(campaign):
    """With noise far above the tolerance it ends with the budget, and a forecast was made on the way."""
    learned = surrogate(campaign.broker, make(noisy), tolerance=1e-4, budget=30, seed=0)
    assert len(learned.data) == 30
    assert "30" in learned.course.stopped and learned.course.forecast is not None
    (foreseen,) = [d for name, d in decisions(campaign.folder) if name == "forecast"]
    assert foreseen["at"] == learned.course.forecast.at and "0.0001" in foreseen["sentence"]


def test_a_tolerance_that_cannot_be_reached_ends_where_forecasts_end(campaign, monkeypatch):
    """More runs do not take noise away: without a budget it ends at so many times the first look's 30 runs, and says what to do."""
    monkeypatch.setattr("mlforhpc.scenarios.surrogate.FARTHEST", 2.0)
    learned = surrogate(campaign.broker, make(noisy), tolerance=1e-4, seed=0)
    assert len(learned.data) == 60
    assert learned.course.stopped == "tolerance 0.0001 not reached: All 60 points of the design came back. Give a larger budget to go on"


@pytest.mark.parametrize("tolerance", [0.0, -0.1, float("nan"), float("inf")])
def test_a_bad_tolerance_is_refused(campaign, tolerance):
    """Before anything runs; so is asking for nothing at all."""
    with pytest.raises(UsageError, match="tolerance"):
        surrogate(campaign.broker, make(wave), tolerance=tolerance)
    with pytest.raises(UsageError, match="budget, or a tolerance"):
        surrogate(campaign.broker, make(wave))
    assert not list(campaign.broker.store.scan())


def costly(a: float, b: float, seed: int, fidelity: float) -> Outputs:
    """A wavy function whose noise falls with the fidelity, 50 ms at fidelity 1."""
    import time

    time.sleep(0.05 * fidelity)
    se = 1e-3 / math.sqrt(fidelity)
    value = math.sin(8 * a) * math.cos(7 * b) + se * np.random.default_rng(seed).standard_normal()
    return Outputs(values={"y": np.array(value)}, standard_errors={"y": np.array(se)})


def test_a_fidelity_is_chosen_from_pilots(campaign):
    """Pilots at both ends in turn, then one fidelity for the rest of the budget; the comparison is in the trace."""
    learned = surrogate(campaign.broker, make(costly, "costly"), budget="1 core-s", fidelity=(0.1, 1.0), seed=0)
    pilots, rest = learned.data.fidelity[:8], learned.data.fidelity[8:]
    assert sorted(set(pilots)) == [0.1, 1.0] and len(set(rest)) == 1
    (chosen,) = [d for name, d in decisions(campaign.folder) if name == "fidelity"]
    assert chosen["chosen"] == rest[0] and len(chosen["splits"]) >= 5
    assert chosen["error"] == min(error for _, _, error in chosen["splits"])


def test_a_range_of_fidelities_needs_slot_time(campaign):
    """A number of runs says nothing of what longer runs cost."""
    with pytest.raises(UsageError, match="budget of slot time"):
        surrogate(campaign.broker, make(noisy), budget=20, fidelity=(0.1, 1.0))


def test_active_learning_runs_in_tasks_and_replays(tmp_path):
    """What the strategy calculates are tasks of kind `decide`; each of its asks comes out again from the trace."""
    with Campaign(tmp_path / "c", engine="processes", slots=2) as campaign:
        surrogate(campaign.broker, load("simulations", "branin").create(), budget=24, strategy="variance", seed=2)
        store, log = campaign.broker.store, decisions(tmp_path / "c")
        same = list(replay(iter(log), store, lambda name: load("simulations", name).create()))
    assert all(r.same for r in same) and [r.decision for r in same].count("ask") >= 3
    kinds = [e.kind for e in trace.read(tmp_path / "c" / "events.jsonl") if isinstance(e, trace.Submitted)]
    assert kinds.count("decide") >= 4


def test_active_learning_against_the_clock_replays(tmp_path):
    """With a budget of slot time runs are asked for one by one while others go on; the trace tells enough to ask again."""
    with Campaign(tmp_path / "c", engine="processes", slots=2) as campaign:
        learned = surrogate(campaign.broker, make(slow, "slow"), budget="0.5 core-s", strategy="variance", seed=2)
        store, log = campaign.broker.store, decisions(tmp_path / "c")
        same = list(replay(iter(log), store, lambda name: make(slow, "slow")))
    assert all(r.same for r in same) and len(learned.data) >= 10


def test_where_runs_fail_is_learned(campaign):
    """The probability of failure is high where runs failed, and low where none did."""
    learned = surrogate(campaign.broker, make(half_broken, "half"), budget=32, seed=0)
    p = learned.failure().probability(np.array([[0.9, 0.0], [0.1, 0.0]]))
    assert p[0] > 0.8 and p[1] < 0.2
