"""Simulations: memoised, shared while in flight, kept before they are returned, and never an exception for an answer."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.broker.broker import Broker
from mlforhpc.core.errors import OutOfBounds, OverBudget, StoreError, StoreFull, TaskError, Unplaceable, UsageError
from mlforhpc.core.record import key_of
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Integer, Real, Space
from mlforhpc.core.task import Resources
from mlforhpc.core.trace import Decision, Submitted, read

WAIT_S = 60
X = {"a": 1.5, "n": 2}


SPACE = Space(a=Real(0, 2), n=Integer(1, 3))
SETTINGS = Space(step=Real(0.0, 1.0))


@dataclass(frozen=True)
class Toy:
    """y = n a + step, with as many side effects as `how` asks for."""

    how: str = "well"
    log: str = ""
    name: str = "toy"
    version: str = "1"
    space: Space = SPACE
    outputs: tuple[Output, ...] = (Output(name="y", shape=(2,)),)
    settings: Space | None = SETTINGS
    references: tuple[str, ...] = ()

    @property
    def default_settings(self):
        return {"step": 0.25}

    def simulate(self, x, *, settings, fidelity, seed, workdir):
        """Run."""
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{workdir}\n")
        assert list(workdir.iterdir()) == []
        if self.how != "idle":
            (workdir / "scratch").write_text("x")
            os.chdir(workdir)
        if self.how == "hang":
            time.sleep(600)
        if self.how == "slow":
            time.sleep(0.3)
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.how == "diverge":
            raise FloatingPointError("lost atoms")
        if self.how == "nan":
            return Outputs(values={"y": [np.nan, 1.0]})
        noise = np.random.default_rng(seed).normal(size=2) * fidelity
        return Outputs(values={"y": x["n"] * x["a"] + settings["step"] + noise}, standard_errors={"y": [0.1, 0.1]}, checks={"drift": 0.5})


def runs(path):
    """How often it ran."""
    return len(Path(path).read_text().split()) if Path(path).exists() else 0


def test_a_record_holds_all_that_was_asked_and_answered(broker, store):
    """Settings are completed; 2.0 for an integer is 2; the cost is slot time."""
    record = broker.simulate(Toy(), {"n": 2.0, "a": 1.5}, seed=3, fidelity=0.5).result(WAIT_S)
    assert record == store.records[record.key]
    assert record.key == key_of(Toy(), X, settings={"step": 0.25}, fidelity=0.5, seed=3)
    assert (record.parameters, record.settings, record.fidelity, record.seed) == (X, {"step": 0.25}, 0.5, 3)
    assert (record.outcome, record.reason, record.limit_s) == ("ok", "", None)
    assert record.outputs["y"] == pytest.approx(3.25 + 0.5 * np.random.default_rng(3).normal(size=2), abs=0)
    assert record.standard_errors["y"].tolist() == [0.1, 0.1]
    assert record.checks == {"drift": 0.5}
    assert 0 < record.cost_s < 5
    assert record.system == broker._dispatcher.system != ""


def test_the_same_question_is_answered_from_the_store(broker, tmp_path, events):
    """One run; the reuse is a decision with key, account and first cost."""
    toy = Toy(log=str(tmp_path / "log"))
    first = broker.simulate(toy, X, seed=0).result(WAIT_S)
    again = broker.simulate(toy, {"a": 1.5, "n": 2.0}, seed=0, settings={"step": 0.25}).result(WAIT_S)
    other = broker.simulate(toy, X, seed=1).result(WAIT_S)
    assert again is first
    assert other.key != first.key
    assert runs(toy.log) == 2
    reused = [e.data for e in events() if isinstance(e, Decision) and e.data.get("key") == first.key]
    assert reused == [{"key": first.key, "charge": "learned", "cost_s": first.cost_s}]


def test_equal_questions_in_flight_share_one_task(broker, tmp_path, events):
    """Each asker has a future of its own; cancelling one leaves the other."""
    toy = Toy(how="slow", log=str(tmp_path / "log"))
    futures = [broker.simulate(toy, X, seed=10) for _ in range(3)]
    assert broker.cancel(futures[1])
    records = [futures[i].result(WAIT_S) for i in (0, 2)]
    assert records[0] is records[1]
    assert runs(toy.log) == 1
    with pytest.raises(TaskError, match="cancelled"):
        futures[1].result(WAIT_S)
    reused = [e for e in events() if isinstance(e, Decision) and e.data.get("key") == records[0].key]
    assert len(reused) == 1


def test_the_last_one_who_cancels_ends_the_task(broker, store, tmp_path):
    """It is not kept, and can be asked again."""
    toy = Toy(how="hang", log=str(tmp_path / "log"))
    futures = [broker.simulate(toy, X, seed=0) for _ in range(2)]
    while runs(toy.log) == 0:
        time.sleep(0.01)
    assert [future.cancel() for future in futures] == [True, True]
    for future in futures:
        with pytest.raises(TaskError, match="cancelled"):
            future.result(WAIT_S)
    assert store.records == {}
    assert broker._dispatcher.in_flight == {}


def test_a_failed_simulation_is_a_record(broker, store):
    """Its reason begins with the error's line, the remote traceback follows; asked again, it is not run again."""
    record = broker.simulate(Toy("diverge"), X, seed=0).result(WAIT_S)
    assert record.outcome == "failed"
    assert record.reason.startswith("FloatingPointError: lost atoms\nTraceback")
    assert dict(record.outputs) == {}
    assert broker.simulate(Toy("diverge"), X, seed=0).result(WAIT_S) is record
    assert len(store.records) == 1


def test_outputs_are_checked_where_they_are_made(broker):
    """NaN is a failed run."""
    record = broker.simulate(Toy("nan"), X, seed=0).result(WAIT_S)
    assert record.outcome == "failed"
    assert "'y' must be finite, found 1 NaN" in record.reason


def test_a_hung_simulation_is_a_timed_out_record_soon_after_its_limit(broker, tmp_path):
    """With the limit it met; a resumed campaign repeats no hang, but a longer limit is another question."""
    toy = Toy(how="hang", log=str(tmp_path / "log"))
    record = broker.simulate(toy, X, seed=0, limit_s=0.3).result(WAIT_S)
    assert (record.outcome, record.limit_s) == ("timed_out", 0.3)
    assert 0.3 <= record.cost_s < 1.0
    assert "limit of 0.3 s" in record.reason
    assert broker.simulate(toy, X, seed=0, limit_s=0.2).result(WAIT_S) is record
    assert runs(toy.log) == 1
    broker.simulate(toy, X, seed=0, limit_s=0.4).result(WAIT_S)
    assert runs(toy.log) == 2


def test_a_lost_simulation_is_tried_three_times_and_never_kept(broker, store, tmp_path):
    """A death says nothing about the simulation."""
    toy = Toy(how="die", log=str(tmp_path / "log"))
    with pytest.raises(TaskError) as caught:
        broker.simulate(toy, X, seed=0).result(WAIT_S)
    assert caught.value.outcome == "lost"
    assert runs(toy.log) == 3
    assert store.records == {}


def test_each_run_has_an_empty_folder_of_its_own_that_is_removed(broker, tmp_path):
    """After success, failure and death alike."""
    log = str(tmp_path / "log")
    broker.simulate(Toy(log=log), X, seed=0).result(WAIT_S)
    broker.simulate(Toy("diverge", log=log), X, seed=1).result(WAIT_S)
    broker.simulate(Toy("hang", log=log), X, seed=2, limit_s=0.1).result(WAIT_S)
    folders = Path(log).read_text().split()
    assert len(set(folders)) == 3
    assert not any(Path(folder).exists() for folder in folders)
    for seed in range(4):
        broker.simulate(Toy("idle", log=log), X, seed=seed).result(WAIT_S)  # one that leaves nothing there
    assert not any(list(Path(folder).iterdir()) for folder in Path(log).read_text().split() if Path(folder).exists())


@pytest.mark.parametrize(
    ("x", "options", "error"),
    [
        ({"a": 3.0, "n": 2}, {}, OutOfBounds),
        ({"a": float("nan"), "n": 2}, {}, OutOfBounds),
        ({"a": 1.0}, {}, UsageError),
        (X, {"settings": {"step": 2.0}}, OutOfBounds),
        (X, {"settings": {"leap": 0.1}}, UsageError),
        (X, {"fidelity": 0.0}, OutOfBounds),
        (X, {"fidelity": 1.5}, OutOfBounds),
        (X, {"limit_s": -1.0}, UsageError),
        (X, {"resources": Resources(cores=9)}, Unplaceable),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_submitted(broker, store, x, options, error):
    """The store is not even asked."""
    before = broker._dispatcher.stats().submitted
    with pytest.raises(error):
        broker.simulate(Toy(), x, seed=0, **options)
    assert broker._dispatcher.stats().submitted == before
    assert store.gets == 0
    assert broker._dispatcher.in_flight == {}


def test_settings_of_a_simulation_without_any_are_refused(broker):
    """By name."""
    with pytest.raises(UsageError, match="has no settings, found step"):
        broker.simulate(replace(Toy(), settings=None), X, seed=0, settings={"step": 0.1})


def test_a_record_is_returned_after_it_is_on_disk(broker, store):
    """While the store has not acknowledged, the future is open, and equal questions wait with it."""
    store.hold = True
    future = broker.simulate(Toy(), X, seed=0)
    while not store.pending:
        time.sleep(0.005)
    second = broker.simulate(Toy(), X, seed=0)
    assert not future.done()
    assert not second.done()
    store.commit()
    assert future.result(WAIT_S) is second.result(WAIT_S)


def test_an_error_of_the_store_surfaces(broker, store):
    """When it cannot keep, and when it cannot read."""
    store.error = StoreError("full")
    with pytest.raises(StoreError, match="full"):
        broker.simulate(Toy(), X, seed=0).result(WAIT_S)
    store.get = lambda key: (_ for _ in ()).throw(StoreError("damaged"))
    with pytest.raises(StoreError, match="damaged"):
        broker.simulate(Toy(), X, seed=0).result(WAIT_S)


@pytest.mark.parametrize("error", [StoreFull("no space is left"), OverBudget("at its budget")])
def test_what_a_full_store_means_is_a_choice(broker, store, dispatcher, events, error):
    """By default the future raises; a view that need not keep hands the record out, says that it was not kept, and runs it again."""
    store.error = error
    with pytest.raises(type(error), match=str(error)):
        broker.simulate(Toy(), X, seed=0).result(WAIT_S)
    may = Broker(dispatcher, store=store, keep="may")
    answers = [may.simulate(Toy(how="slow"), X, seed=1) for _ in range(2)]
    first, second = (answer.result(WAIT_S) for answer in answers)
    assert first is second and first.outcome == "ok" and not first.kept and first.outputs["y"].shape == (2,)
    said = [e.data for e in events() if isinstance(e, Decision) and e.decision == "not_kept"]
    assert said[-1] == {"key": first.key, "reason": str(error)}
    failed = may.simulate(Toy(how="diverge"), X, seed=2).result(WAIT_S)
    assert failed.outcome == "failed" and not failed.kept
    store.error = None
    again = may.simulate(Toy(how="slow"), X, seed=1).result(WAIT_S)
    assert again.kept and again.key == first.key and (again.outputs["y"] == first.outputs["y"]).all()
    assert may.simulate(Toy(how="slow"), X, seed=1).result(WAIT_S).kept


def test_other_errors_of_a_store_are_raised_by_either_view(dispatcher, store):
    """Only a full store is a reason to answer without keeping."""
    store.error = StoreError("damaged")
    with pytest.raises(StoreError, match="damaged"):
        Broker(dispatcher, store=store, keep="may").simulate(Toy(), X, seed=0).result(WAIT_S)


def test_a_full_disk_under_the_trace_holds_up_no_answer_that_need_not_be_kept(fresh, monkeypatch):
    """Trace and store on the same full disk: "must" loses the result, "may" hands it out; the lines follow when there is space."""
    broker, dispatcher = fresh()
    dispatcher.engine.warm_up(WAIT_S)

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    broker.store.error = StoreFull("no space is left")
    may = Broker(dispatcher, store=broker.store, keep="may")
    with monkeypatch.context() as context:
        context.setattr("mlforhpc.core.trace.os.write", full)
        with pytest.raises(TaskError, match="No space left"):
            broker.simulate(Toy(), X, seed=0).result(WAIT_S)
        record = may.simulate(Toy(), X, seed=1).result(WAIT_S)
    assert record.outcome == "ok" and not record.kept
    dispatcher.flush()
    decisions = [event for event in read(dispatcher.trace.path) if isinstance(event, Decision)]
    assert [d.data["key"] for d in decisions if d.decision == "not_kept"] == [record.key]


def test_two_views_share_the_engine_and_no_store(broker, store, dispatcher, tmp_path, events):
    """The referee's runs are charged to its own account and kept in its own store."""
    other = type(store)()
    referee = Broker(dispatcher, store=other, charge="measurement")
    toy = Toy(log=str(tmp_path / "log"))
    for view in (broker, referee):
        view.simulate(toy, X, seed=0).result(WAIT_S)
    assert runs(toy.log) == 2
    assert set(store.records) == set(other.records)
    (key,) = store.records
    assert [e.charge for e in events() if isinstance(e, Submitted) and e.key == key][-2:] == ["learned", "measurement"]
    assert not any(value is other for value in vars(dispatcher).values())


def test_a_changed_simulation_object_is_sent_anew(broker):
    """Objects are known by content, not by identity."""

    class Mutable(Toy):
        pass

    toy = Mutable()
    first = broker.simulate(toy, X, seed=0).result(WAIT_S)
    object.__setattr__(toy, "how", "diverge")
    second = broker.simulate(toy, X, seed=1).result(WAIT_S)
    assert (first.outcome, second.outcome) == ("ok", "failed")


def test_serial_and_processes_give_the_same_numbers(fresh):
    """Every digit of every record, times aside."""
    tables = []
    for slots in (None, 2):
        broker, _ = fresh(slots)
        futures = [broker.simulate(Toy(), {"a": 0.1 * i, "n": 1 + i % 3}, seed=i) for i in range(12)]
        tables.append([replace(f.result(WAIT_S), cost_s=0.0) for f in futures])
    for one, other in zip(*tables, strict=True):
        assert one.key == other.key
        assert one.outputs["y"].tobytes() == other.outputs["y"].tobytes()


def test_on_serial_a_hang_and_a_crash_do_not_take_the_driver(fresh):
    """They run in a slot child: because of their limit, or because the simulation says that it may crash."""

    class Crashing(Toy):
        isolated = True

    broker, _ = fresh(None)
    assert broker.simulate(Toy("hang"), X, seed=0, limit_s=0.2).result(WAIT_S).outcome == "timed_out"
    with pytest.raises(TaskError, match="SIGSEGV"):
        broker.simulate(Crashing("die"), X, seed=0).result(WAIT_S)
    assert broker.simulate(Toy(), X, seed=0).result(WAIT_S).outcome == "ok"
