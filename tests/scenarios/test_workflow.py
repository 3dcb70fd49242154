"""The scenario `workflow`: order, values of parents, failures and bad graphs, on real engines."""

from __future__ import annotations

import time

import pytest

from mlforhpc import Campaign
from mlforhpc.core import trace
from mlforhpc.core.errors import TaskError, Unplaceable, UsageError
from mlforhpc.core.task import Resources
from mlforhpc.scenarios.workflow import Node, run_graph


def number(value: int) -> int:
    """A source."""
    return value


def minus(a: int, b: int) -> int:
    """Depends on the order of its arguments."""
    return a - b


def broken(*_: object) -> None:
    """Fails where it runs."""
    raise FloatingPointError("the solver diverged")


@pytest.fixture(params=["serial", "processes"])
def campaign(request, tmp_path):
    """A campaign of two slots, or one."""
    with Campaign(tmp_path / "c", engine=request.param, slots=2 if request.param == "processes" else None) as opened:
        yield opened


def test_values_of_parents_follow_a_task_s_own_arguments_in_order(campaign):
    """(7 - 3), 10 - that, and the same turned round; whatever the order in which the graph is written."""
    graph = {
        "turned": Node(minus, parents=("difference", "ten")),
        "rest": Node(minus, (10,), parents=("difference",)),
        "difference": Node(minus, parents=("seven", "three")),
        "ten": Node(number, (10,)),
        "seven": Node(number, (7,)),
        "three": Node(number, (3,)),
    }
    ran = run_graph(campaign.broker, graph)
    assert ran.complete() == {"turned": -6, "rest": 6, "difference": 4, "ten": 10, "seven": 7, "three": 3}
    assert ran.failed == {} and ran.not_run == ()


def test_a_task_starts_when_its_parents_have_ended(campaign):
    """In the trace, on the workers' clocks; labels carry the prefix."""
    width = 6
    graph = {"source": Node(number, (1,))}
    graph |= {f"middle {i}": Node(minus, (i,), parents=("source",)) for i in range(width)}
    graph["sink"] = Node(max, parents=tuple(f"middle {i}" for i in range(width)))
    assert run_graph(campaign.broker, graph, prefix="fan, ").complete()["sink"] == width - 2
    events = list(trace.read(campaign.folder / "events.jsonl"))
    label = {e.task: e.label for e in events if isinstance(e, trace.Submitted)}
    ran = {label[e.task]: (e.started_ns, e.ended_ns) for e in events if isinstance(e, trace.Finished)}
    assert set(ran) == {f"fan, {name}" for name in graph}
    middle = [ran[f"fan, middle {i}"] for i in range(width)]
    assert ran["fan, source"][1] <= min(start for start, _ in middle) and max(end for _, end in middle) <= ran["fan, sink"][0]


def test_a_failed_task_takes_down_what_needs_it_and_nothing_else(campaign):
    """The error says which failed, what was not run, and where it was raised; the other branch has its value."""
    graph = {
        "good": Node(number, (1,)),
        "bad": Node(broken, parents=("good",)),
        "child": Node(number, parents=("bad",)),
        "grandchild": Node(minus, parents=("child", "good")),
        "other": Node(minus, (5,), parents=("good",)),
    }
    ran = run_graph(campaign.broker, graph)
    assert ran.values == {"good": 1, "other": 4} and set(ran.failed) == {"bad"} and ran.not_run == ("child", "grandchild")
    with pytest.raises(TaskError, match=r"'bad' .* failed.* Not run.*'child', 'grandchild'") as caught:
        ran.complete()
    assert caught.value.outcome == "failed" and "FloatingPointError: the solver diverged" in caught.value.remote_traceback
    assert "broken" in caught.value.remote_traceback


def test_several_failures_are_all_named(campaign):
    """Two sources that fail, and seven tasks that need them, of which five are named."""
    graph = {"a": Node(broken), "b": Node(broken)} | {f"c{i}": Node(minus, parents=("a", "b")) for i in range(7)}
    with pytest.raises(TaskError, match=r"ended as failed, as did '[ab]'.* 'c0', 'c1', 'c2', 'c3', 'c4' and 2 more"):
        run_graph(campaign.broker, graph).complete()


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        ({"a": Node(number, (1,)), "b": Node(number, parents=("c",))}, "'b' of the graph needs 'c', which is no task of it"),
        ({"a": Node(number, parents=("b",)), "b": Node(number, parents=("a",))}, "in a circle: . -> . -> ."),
        ({"a": Node(number, parents=("a",))}, "in a circle: a -> a"),
    ],
)
def test_a_bad_graph_is_refused_before_anything_runs(campaign, graph, sentence):
    """A sentence, and no task in the trace."""
    with pytest.raises(UsageError, match=sentence):
        run_graph(campaign.broker, graph)
    assert not any(isinstance(e, trace.Submitted) for e in trace.read(campaign.folder / "events.jsonl"))


def test_an_empty_graph_has_no_values(campaign):
    """Nothing to do."""
    assert run_graph(campaign.broker, {}).complete() == {}


def test_a_task_that_can_never_be_placed_ends_the_graph_and_what_runs(tmp_path):
    """What was running is cancelled at once: the only slot takes another task."""
    graph = {"slow": Node(time.sleep, (60,)), "wide": Node(number, (1,), resources=Resources(cores=99))}
    with Campaign(tmp_path / "c", engine="processes", slots=1) as campaign:
        with pytest.raises(Unplaceable):
            run_graph(campaign.broker, graph)
        assert campaign.broker.submit("prepare", number, 5).result(timeout=30) == 5
    ended = [e.outcome for e in trace.read(tmp_path / "c" / "events.jsonl") if isinstance(e, trace.Finished)]
    assert ended == ["cancelled", "ok"]
