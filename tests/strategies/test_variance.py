"""Active learning: a design first, then the runs that teach most; replayable, asynchronous, thrifty, and elsewhere after a failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.core.strategy import Observation, Strategy
from mlforhpc.learners import gaussian_process
from mlforhpc.simulations import piston
from mlforhpc.strategies import sobol, variance

SPACE = Space(a=Real(0.0, 1.0), b=Real(-1.0, 1.0))
F = (Output(name="f", scale=1.0),)


def smooth(x):
    """Two real parameters, deterministic."""
    return {"f": np.array(math.sin(5.0 * x[0]) + x[1] ** 2)}


def campaign(strategy, function=smooth, at_once=4, order=1, failed=lambda x: False):
    """Ask and tell to the end; the points in the order of asking, and the sizes of the answers."""
    points, sizes = [], []
    while strategy.done is None:
        proposals = strategy.ask(at_once)
        assert len(proposals) > 0
        sizes.append(len(proposals))
        points += [p.x for p in proposals]
        answers = [
            Observation(id=p.id, outcome="failed") if failed(p.x) else Observation(id=p.id, outcome="ok", y=function(p.x))
            for p in proposals
        ]
        strategy.tell(answers[::order])
    return np.array(points), sizes


@dataclass(frozen=True)
class White:
    """A surrogate that knows nothing: its errors are independent at points farther apart than `length`, less sure on the right."""

    space: Space
    length: float = 0.1
    right: float = 1.0

    def covariance(self, x, x2):
        d = x[:, None, 0] - x2[None, :, 0]
        size = np.where(x[:, None, 0] > 0.5, self.right, 1.0) * np.where(x2[None, :, 0] > 0.5, self.right, 1.0)
        return (size * np.exp(-0.5 * (d / self.length) ** 2))[None]

    def run_variance(self, x, *, fidelity):
        return np.zeros((1, len(x)))


LINE = Space(a=Real(0.0, 1.0))


def chosen(surrogate, n, running=(), **more):
    """Points (n,) of the line that a surrogate makes the most informative ones."""
    made = np.array(running, dtype=float).reshape(-1, 1)
    return variance.most_informative(surrogate, made, n, seed=1, fidelity=1.0, reach=0.0, **more)[:, 0]


def test_it_is_a_strategy():
    """It keeps the Strategy contract."""
    assert isinstance(variance.create(SPACE, outputs=F, seed=0, runs=12), Strategy)


def test_the_design_comes_first_and_the_runs_are_all_different():
    """The first points are those of the Sobol design; of 24 runs of a deterministic function none is made twice, all are in the space."""
    strategy = variance.create(SPACE, outputs=F, seed=3, runs=24)
    x, sizes = campaign(strategy)
    assert np.array_equal(x[:10], sobol.design(SPACE, seed=3, runs=10))
    assert len(np.unique(x, axis=0)) == 24 == sum(sizes) and max(sizes) <= 4
    SPACE.check(x)
    assert strategy.done == "All 24 runs came back." and strategy.ask(3) == []


def test_the_order_of_answers_changes_nothing():
    """The same asks and answers, told backwards, give the same rows to fit and the same points; another seed gives others."""

    def rows_and_points(seed, order):
        rows = []

        def call(function, *args):
            rows.extend(data.x for data in args if isinstance(data, Dataset))
            return function(*args)

        x, _ = campaign(variance.create(SPACE, outputs=F, seed=seed, runs=20, call=call), order=order)
        return np.vstack(rows), x

    (rows, x), (rows_back, x_back), (_, other) = rows_and_points(3, 1), rows_and_points(3, -1), rows_and_points(4, 1)
    assert np.array_equal(rows, rows_back) and np.array_equal(x, x_back) and not np.array_equal(x, other)


def test_it_is_asked_while_runs_go_on():
    """With one slot free at a time and two runs still going on, no point is proposed twice, and the log of it replays exactly."""

    def by_one():
        strategy, waiting, points = variance.create(SPACE, outputs=F, seed=0, runs=20, first=8), [], []
        while strategy.done is None:
            new = strategy.ask(1)
            points += [p.x for p in new]
            waiting += new
            if len(waiting) == 3 or not new:
                p = waiting.pop(-1 if len(points) % 2 else 0)
                strategy.tell([Observation(id=p.id, outcome="ok", y=smooth(p.x))])
        return np.array(points)

    x = by_one()
    assert len(np.unique(x, axis=0)) == 20
    assert np.array_equal(x, by_one())


def test_it_waits_while_too_little_is_known():
    """All of the design is asked for at once; nothing more until half of it came back."""
    strategy = variance.create(SPACE, outputs=F, seed=0, runs=20, first=8)
    proposals = strategy.ask(100)
    assert [p.id for p in proposals] == list(range(8)) and strategy.ask(100) == []
    strategy.tell([Observation(id=p.id, outcome="ok", y=smooth(p.x)) for p in proposals[:3]])
    assert strategy.ask(100) == []
    strategy.tell([Observation(id=proposals[3].id, outcome="ok", y=smooth(proposals[3].x))])
    assert [p.id for p in strategy.ask(100)] == [8]


def test_a_campaign_of_failures_goes_on_with_the_design():
    """Where nothing can be fitted, the points are those of the design."""
    x, _ = campaign(variance.create(SPACE, outputs=F, seed=5, runs=16), failed=lambda x: True)
    assert np.array_equal(x, sobol.design(SPACE, seed=5, runs=16))


def test_a_failed_run_is_not_made_again():
    """Half of the space always fails: no point is proposed twice, and later ones do not crowd round a failure."""
    x, _ = campaign(variance.create(SPACE, outputs=F, seed=5, runs=30), failed=lambda x: x[0] < 0.5)
    u = SPACE.encode(x)
    distance = np.linalg.norm(u[:, None] - u[None], axis=2) + np.eye(30)
    assert distance.min() > 0.01


def test_integers_choices_profiles_and_noise():
    """A mixed space, a profile of two shapes in three outputs, stated errors: the campaign ends inside the space."""
    space = Space(a=Real(1.0, 10.0, log=True), k=Integer(1, 3), c=Choice(("x", "y")))
    outputs = (Output(name="p", shape=(6,), scale=1.0), Output(name="f", scale=1.0))
    t = np.linspace(0.0, 1.0, 6)

    def run(x):
        return {"p": np.sin(t * x[0]) + x[1] * t**2 + x[2], "f": np.array(x[0] * x[1])}

    strategy = variance.create(space, outputs=outputs, seed=0, runs=24)
    points = []
    while strategy.done is None:
        proposals = strategy.ask(5)
        points += [p.x for p in proposals]
        se = {"p": np.full(6, 0.1)}
        strategy.tell([Observation(id=p.id, outcome="ok", y=run(p.x), se=se) for p in proposals])
    space.check(np.array(points))
    assert len(points) == 24


def test_the_first_choice_is_in_the_middle_and_two_share_the_line():
    """Of a stationary process on [0, 1] nothing is known: one run is best at 1/2, and the second is away from the first."""
    assert abs(chosen(White(LINE, length=0.5), 1)[0] - 0.5) < 0.02
    a, b = chosen(White(LINE), 2)
    assert abs(a - b) > 0.2


def test_runs_are_made_where_the_surrogate_is_unsure():
    """Errors three times as large on the right: of four points all are there, nine times as much being to be gained."""
    assert (chosen(White(LINE, length=0.05, right=3.0), 4) > 0.5).all()


def test_a_run_that_goes_on_counts_as_made():
    """With runs at every tenth from 0 to 1/2 going on, the next two are on the right."""
    assert (chosen(White(LINE, length=0.1), 2, running=np.linspace(0.0, 0.5, 6)) > 0.5).all()


def test_an_input_that_does_nothing_is_not_explored():
    """Errors depend on a alone, over a tenth of its range: five points are more than that apart in a, which a design's are not."""
    x = variance.most_informative(White(SPACE), np.empty((0, 2)), 5, seed=1, fidelity=1.0, reach=0.0)
    design = sobol.design(SPACE, seed=1, runs=5)
    assert np.diff(np.sort(x[:, 0])).min() > 0.1 > np.diff(np.sort(design[:, 0])).min()


def test_cheap_points_are_preferred_and_thrift_says_how_much():
    """Runs on the right cost 100 times as much: at thrift 0.5 the first four are on the left, at 0 they are not."""

    def cost(x):
        return np.where(x[:, 0] > 0.5, 100.0, 1.0)

    assert (chosen(White(LINE), 4, cost=cost) <= 0.5).all()
    assert np.array_equal(chosen(White(LINE), 4, cost=cost, thrift=0.0), chosen(White(LINE), 4))
    assert (chosen(White(LINE), 4) > 0.5).any()


def test_only_relative_costs_count():
    """The same points in another unit of cost, and the campaign takes `cost` like the task does."""

    def cost(x):
        return 1.0 + 9.0 * x[:, 0]

    x = [campaign(variance.create(SPACE, outputs=F, seed=0, runs=16, cost=c))[0] for c in (cost, lambda x: 1000.0 * cost(x), None)]
    assert np.array_equal(x[0], x[1]) and not np.array_equal(x[0], x[2])


@pytest.mark.parametrize("cost", [lambda x: np.zeros(len(x)), lambda x: np.ones(3), lambda x: np.full(len(x), np.nan)])
def test_a_cost_that_is_none_is_refused(cost):
    """Costs that are not positive, not one a point or not numbers are a usage error."""
    with pytest.raises(UsageError, match="one positive number"):
        chosen(White(LINE), 1, cost=cost)


def test_a_surrogate_that_tells_no_covariance_is_refused(monkeypatch):
    """A learner whose surrogates are not Informative is a usage error that names it."""

    class Dumb:
        def fit(self, data, *, seed):
            return object()

    class Module:
        @staticmethod
        def create(**options):
            return Dumb()

    monkeypatch.setattr(variance, "load", lambda kind, name: Module)
    with pytest.raises(UsageError, match="'dumb' do not"):
        campaign(variance.create(SPACE, outputs=F, seed=0, runs=12, learner="dumb"))


@pytest.mark.parametrize(
    "wrong", [{"first": 0}, {"first": 13}, {"share": 0.0}, {"fidelity": 2.0}, {"reach": 1.0}, {"thrift": -0.1}, {"thrift": 1.1}]
)
def test_nonsense_is_refused(wrong):
    """Numbers that make no campaign are a usage error."""
    with pytest.raises(UsageError):
        variance.create(SPACE, outputs=F, seed=0, runs=12, **wrong)


def test_an_answer_to_no_question_is_refused():
    """Telling about a run that was not proposed is a usage error."""
    with pytest.raises(UsageError, match="answers no proposal"):
        variance.create(SPACE, outputs=F, seed=0, runs=12).tell([Observation(id=0, outcome="ok")])


def test_each_run_is_fitted_at_the_fidelity_it_was_made_at():
    """The rows to fit have the fidelities that the observations tell, whatever was proposed."""
    seen = []

    def call(function, *args):
        seen.extend(data.fidelity for data in args if isinstance(data, Dataset))
        return function(*args)

    strategy = variance.create(SPACE, outputs=F, seed=0, runs=12, first=6, call=call)
    proposals = strategy.ask(6)
    strategy.tell([Observation(id=p.id, outcome="ok", y=smooth(p.x), fidelity=(0.1, 1.0)[p.id % 2]) for p in proposals[::-1]])
    strategy.ask(1)
    assert np.array_equal(seen, [[0.1, 1.0] * 3])


def test_its_calculations_can_be_made_elsewhere():
    """`call` gets the fits and the choices as functions of arguments, and what it returns is used."""
    names = []

    def call(function, *args):
        names.append(function.__name__)
        return function(*args)

    campaign(variance.create(SPACE, outputs=F, seed=0, runs=14, call=call))
    assert set(names) == {"fitted", "most_informative"}


def test_it_learns_the_piston_with_fewer_runs():
    """Seed 0, 80 runs of the piston: the surrogate's error is smaller than after 80 runs of the Sobol design."""
    simulation = piston.create()
    test = np.random.default_rng(0).random((1000, len(simulation.space)))

    def run(x):
        return simulation.simulate(simulation.space.point(x), settings={}, fidelity=1.0, seed=0, workdir=Path()).values

    def error(strategy):
        x, _ = campaign(strategy, function=run, at_once=80)
        data = Dataset(
            space=simulation.space, outputs=simulation.outputs, x=x, y={"cycle_time": np.array([run(row)["cycle_time"] for row in x])},
            y_se={}, outcome=("ok",) * len(x), fidelity=np.ones(len(x)), cost_s=np.ones(len(x)),
        )  # fmt: skip
        points = simulation.space.decode(test)
        mean = gaussian_process.create(folds=0).fit(data, seed=0).predict(points).mean["cycle_time"]
        return np.sqrt(np.mean((mean - [run(row)["cycle_time"] for row in points]) ** 2))

    options = {"seed": 0, "runs": 80, "outputs": simulation.outputs}
    assert error(variance.create(simulation.space, **options)) < 0.9 * error(sobol.create(simulation.space, **options))
