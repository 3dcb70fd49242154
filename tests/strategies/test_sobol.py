"""A Sobol design: the same points whatever the batches, in bounds, replayable, done when all came back."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.core.strategy import Observation, Strategy
from mlforhpc.strategies import sobol

SPACE = Space(a=Real(1.0, 3.0), k=Integer(1, 3), c=Choice(("x", "y")))


def campaign(strategy, at_once=4, order=1):
    """Ask and tell to the end; the points in the order of asking, and the sizes of the answers."""
    points, sizes = [], []
    while strategy.done is None:
        proposals = strategy.ask(at_once)
        sizes.append(len(proposals))
        points += [p.x for p in proposals]
        strategy.tell([Observation(id=p.id, outcome="ok") for p in proposals][::order])
    return np.array(points), sizes


def test_it_is_a_strategy():
    """It keeps the Strategy contract."""
    assert isinstance(sobol.create(SPACE, seed=0, runs=3), Strategy)


def test_batches_and_order_do_not_change_the_points():
    """Batches of any size, answered in any order, give points 0 .. n - 1 of one sequence."""
    whole, _ = campaign(sobol.create(SPACE, seed=5, runs=20), at_once=20)
    batched, sizes = campaign(sobol.create(SPACE, seed=5, runs=20, batch=8), at_once=5, order=-1)
    assert np.array_equal(whole, batched)
    assert sum(sizes) == 20 and max(sizes) <= 5


def test_a_longer_design_begins_with_the_shorter_one():
    """Twenty points are the first twenty of a hundred."""
    assert np.array_equal(sobol.design(SPACE, seed=1, runs=100)[:20], sobol.design(SPACE, seed=1, runs=20))


def test_the_points_are_of_the_space_and_fill_it():
    """All values are allowed ones; 64 points put exactly 16 in each quarter of a real parameter."""
    x = sobol.design(SPACE, seed=2, runs=64)
    SPACE.check(x)
    assert np.histogram(x[:, 0], bins=4, range=(1.0, 3.0))[0].tolist() == [16, 16, 16, 16]
    assert set(x[:, 1]) == {1.0, 2.0, 3.0} and set(x[:, 2]) == {0.0, 1.0}


def test_seeds_differ():
    """Another seed is another design."""
    assert not np.array_equal(sobol.design(SPACE, seed=1, runs=8), sobol.design(SPACE, seed=2, runs=8))


def test_a_batch_waits_for_the_one_before():
    """With batch=2 nothing is proposed until both runs of the batch came back, failed ones included."""
    strategy = sobol.create(SPACE, seed=0, runs=4, batch=2)
    assert [p.id for p in strategy.ask(10)] == [0, 1]
    assert strategy.ask(10) == []
    strategy.tell([Observation(id=1, outcome="failed")])
    assert strategy.ask(10) == [] and strategy.done is None
    strategy.tell([Observation(id=0, outcome="ok")])
    assert [p.id for p in strategy.ask(1)] == [2]
    assert [p.id for p in strategy.ask(10)] == [3]
    strategy.tell([Observation(id=i, outcome="ok") for i in (3, 2)])
    assert strategy.done == "All 4 points of the design came back."


def test_a_half_asked_batch_is_finished_first():
    """An answer to the first run of a half-asked batch neither blocks the second nor opens the next batch."""
    strategy = sobol.create(SPACE, seed=0, runs=4, batch=2)
    assert [p.id for p in strategy.ask(1)] == [0]
    strategy.tell([Observation(id=0, outcome="ok")])
    assert [p.id for p in strategy.ask(10)] == [1]
    assert strategy.ask(10) == []


def test_fidelity_goes_out_with_every_proposal():
    """Proposals carry the fidelity of the design."""
    assert {p.fidelity for p in sobol.create(SPACE, seed=0, runs=3, fidelity=0.02).ask(3)} == {0.02}


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"runs": 3, "batch": 0}, {"runs": 3, "fidelity": 0.0}, {"runs": 3, "fidelity": 1.5}])
def test_nonsense_is_refused(wrong):
    """Numbers that make no design are a usage error."""
    with pytest.raises(UsageError):
        sobol.create(SPACE, seed=0, **wrong)


def test_an_answer_to_no_question_is_refused():
    """Telling about a run that was not proposed is a usage error."""
    with pytest.raises(UsageError, match="answers no proposal"):
        sobol.create(SPACE, seed=0, runs=3).tell([Observation(id=0, outcome="ok")])


def test_a_design_that_reaches_over_the_edge_puts_that_share_on_it():
    """reach 1/8 in one dimension: the sequence fills [-1/8, 9/8], so a tenth lies on each edge, and integers keep their shares."""
    space = Space(a=Real(0, 1), z=Integer(1, 4))
    x = sobol.design(space, seed=3, runs=1280, reach=0.125)
    assert abs((x[:, 0] == 0).mean() - 0.1) < 0.01 and abs((x[:, 0] == 1).mean() - 0.1) < 0.01
    assert all(abs((x[:, 1] == k).mean() - 0.25) < 0.01 for k in (1, 2, 3, 4))
    with pytest.raises(UsageError, match="reach"):
        sobol.create(space, seed=3, runs=8, reach=-0.1)
