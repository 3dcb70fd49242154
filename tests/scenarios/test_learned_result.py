"""The result of a learned simulation: error, verdict and figures from runs that the surrogate had not seen, with numbers worked by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from mlforhpc.core.learner import Dataset, Prediction
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Real, Space
from mlforhpc.scenarios.checked import LEVELS, Checked, held_out, left_out
from mlforhpc.scenarios.learned_result import Made, result
from mlforhpc.scenarios.referee import LookupTimes
from mlforhpc.store.importing import Recorded

SPACE = Space(a=Real(1, 2, unit="m"), metal=Choice(("steel", "copper")))
OUTPUTS = (Output(name="y", unit="N", scale=2.0), Output(name="p", shape=(3,), scale=1.0))


@dataclass(frozen=True)
class Level:
    """Answers everywhere with the mean of what it was fitted to, plus and minus `half` times the coverage."""

    space: Space
    outputs: tuple[Output, ...]
    mean: dict
    half: float
    version: str = "v"

    @property
    def card(self):
        """What it is."""
        return {"learner": "level", "fold_error": 0.25, "fold_note": "text"}

    def predict(self, x, *, coverage=0.9, of="run", joint=False, se=None):
        """The same for every point."""
        n = len(x)
        mean = {name: np.repeat(v[None], n, axis=0) for name, v in self.mean.items()}
        ends = [{name: v + sign * self.half * coverage for name, v in mean.items()} for sign in (-1, 1)]
        return Prediction(
            mean=mean, lower=ends[0], upper=ends[1], inside=np.ones(n, bool), coverage=coverage, of=of, joint=joint
        )  # fmt: skip


@dataclass(frozen=True)
class Levels:
    """Fits a Level."""

    half: float = 1.0
    name: str = "level"

    def fit(self, data, *, seed, broker=None):
        """Means over the runs."""
        return Level(data.space, data.outputs, {name: y.mean(axis=0) for name, y in data.y.items()}, self.half)


def dataset(y, p=None, se=None, outcome=None) -> Dataset:
    """Runs with these outputs, at evenly spaced points."""
    y = np.asarray(y, dtype=float)
    n = len(y)
    x = np.column_stack([np.linspace(1, 2, n), np.arange(n) % 2])
    p = np.zeros((n, 3)) if p is None else np.asarray(p, dtype=float)
    ones = np.ones(n)
    return Dataset(
        space=SPACE, outputs=OUTPUTS, x=x, y={"y": y, "p": p}, y_se={} if se is None else {"y": np.asarray(se)},
        outcome=tuple(outcome or ["ok"] * n), fidelity=ones, cost_s=2 * ones, keys=tuple(map(str, range(n))),
    )  # fmt: skip


def made(checked, data, **more) -> Made:
    """What a run made."""
    simulation = Recorded(name="s", version="1", space=SPACE, outputs=OUTPUTS, references=("A reference",))
    fitted = Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0)
    return Made(
        **{
            "simulation": simulation, "surrogate": fitted, "data": data, "records": [], "checked": checked,
            "spent_s": {("learn", "learned"): 3.0}, "lookups": LookupTimes(single_s=0.1, batched_s=0.01), **more,
        }
    )  # fmt: skip


def test_the_error_of_held_out_runs():
    """Errors 1 and 3 of y over 2, none of p: q^2 = ((1/4 + 9/4) / 2) / 2; the 90 % interval of half-width 0.9 covers p and no y."""
    checked = held_out(Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0), dataset([1.0, 3.0]))
    found = result(made(checked, dataset([0.0, 0.0])), tolerance=None, seed=0)
    assert checked.terms.values.tolist() == [[0.25, 0.0], [2.25, 0.0]]
    assert found.quality["q2"] == pytest.approx(0.625) and found.headline["error q"].value == pytest.approx(0.625**0.5)
    assert found.quality["q[y]"] == pytest.approx(1.25**0.5) and found.quality["q[p]"] == 0.0
    assert found.quality["coverage"] == pytest.approx(0.5) and found.quality["coverage[p]"] == 1.0
    assert found.quality["fold_error"] == 0.25 and "fold_note" not in found.quality
    assert found.headline["S(infinity)"].value == 200.0 and found.performance["slot_s[learn, learned]"] == 3.0
    assert "2 held-out runs" in found.verdict.reason and found.references[0] == "A reference"


def test_the_runs_own_noise_is_taken_out():
    """Errors of 1 with stated errors of 1: below resolution, and said so."""
    checked = held_out(Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0), dataset([1.0, -1.0, 1.0], se=[1.0, 1.0, 1.0]))
    found = result(made(checked, dataset([0.0, 0.0])), tolerance=None, seed=0)
    assert found.quality["q2"] == 0.0 and found.headline["error q"].value is None
    assert "below the noise of the runs" in found.verdict.reason


def test_failed_held_out_runs_say_nothing():
    """Only those that ended well are compared."""
    level = Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0)
    checked = held_out(level, dataset([1.0, np.nan, 3.0], outcome=["ok", "failed", "ok"]))
    assert len(checked.runs) == 2 and checked.terms.by_system.tolist() == [0.125, 1.125]


def test_left_out_runs_are_unseen():
    """Every run once, against the mean of the others' parts: 1 ... 10 in five parts of two."""
    data = dataset(np.arange(1.0, 11.0))
    checked = left_out(Levels(), data, seed=3, broker=None)
    assert sorted(checked.runs.keys, key=int) == list(data.keys) and checked.how == "left-out"
    p = checked.at_stated.mean["y"]
    for k in range(0, 10, 2):  # a part's two runs share one surrogate, fitted to the eight others
        part = checked.runs.y["y"][k : k + 2]
        assert p[k] == p[k + 1] == pytest.approx((55 - part.sum()) / 8)
    assert set(checked.predicted) == set(LEVELS) and checked.predicted[0.5].upper["y"][0] - p[0] == pytest.approx(0.5)


def test_no_more_parts_are_refitted_than_an_error_takes():
    """Of 200 runs, one part of 40; of two, none can be left out; failed runs are in no part."""
    assert len(left_out(Levels(), dataset(np.arange(200.0)), seed=0, broker=None).runs) == 40
    assert left_out(Levels(), dataset([1.0, 2.0]), seed=0, broker=None) is None
    some = dataset([1.0, np.nan, 3.0, 4.0], outcome=["ok", "failed", "ok", "ok"])
    assert len(left_out(Levels(), some, seed=0, broker=None).runs) == 3


@pytest.mark.parametrize(("tolerance", "status", "words"), [(5.0, "VALID", "within the target"), (0.1, "INVALID", "misses the target")])
def test_the_verdict_is_given_against_the_tolerance(tolerance, status, words):
    """By the one-sided limits of the error, in a benchmark's words; never ranked."""
    y = np.tile([1.0, 1.2, 0.9, 1.1], 10)
    checked = held_out(Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0), dataset(y))
    found = result(made(checked, dataset([0.0, 0.0])), tolerance=tolerance, seed=0)
    assert (found.verdict.status, found.verdict.target, found.verdict.ranked) == (status, tolerance, False)
    assert words in found.verdict.reason and "on 40 held-out runs" in found.verdict.reason
    assert found.headline["error q"].reference == tolerance


def test_without_a_run_to_check_with_it_is_invalid():
    """No figures, and the reason in the sentence; nothing is claimed."""
    found = result(made(None, dataset([0.0, 0.0])), tolerance=None, seed=0)
    assert found.verdict.status == "INVALID" and "no run was left to check" in found.verdict.reason
    assert not found.figures and "q" not in found.quality and "error q" not in found.headline


def test_an_error_relative_to_what_goes_through_zero_is_flagged():
    """An output without a declared scale that goes through zero: the note says what to do."""
    checked = held_out(Level(SPACE, OUTPUTS, {"y": np.array(0.0), "p": np.zeros(3)}, 1.0), dataset([1.0, -1e-6, 2.0]))
    relative = tuple(replace(o, scale="rms") if o.name == "y" else o for o in OUTPUTS)
    zero = Checked(runs=replace(checked.runs, outputs=relative), predicted=checked.predicted, how="held-out")
    found = result(made(zero, dataset([0.0, 0.0])), tolerance=None, seed=0)
    assert "y goes through 0" in found.headline["error q"].note and "declare a scale" in found.headline["error q"].note
    assert "goes through 0" not in result(made(checked, dataset([0.0, 0.0])), tolerance=None, seed=0).headline["error q"].note


def test_figures_and_tables():
    """Parity with intervals, the profile of three runs, coverage at every level, the error against each parameter; failures by reason."""
    checked = held_out(Level(SPACE, OUTPUTS, {"y": np.array(0.5), "p": np.zeros(3)}, 1.0), dataset([1.0, 3.0, 0.0], p=np.ones((3, 3))))
    record = Record(
        key="k", simulation="s", version="1", parameters={}, settings={}, fidelity=1.0, seed=0, outcome="failed", reason="it broke\ntrace"
    )  # fmt: skip
    data = dataset([0.0, np.nan, np.nan, np.nan], outcome=["ok", "failed", "failed", "failed"])
    found = result(
        made(checked, data, records=[record, record], notes=["Bounds: data."]),
        tolerance=0.3,
        seed=0,
    )
    figures = {f.name: f for f in found.figures}
    assert "sensitivity" not in figures and "sensitivity" in {t.name for t in found.tables}  # a level does not vary
    (parity,) = figures["parity"].panels
    assert parity.series[0].x == [1.0, 3.0, 0.0] and parity.series[0].y == [0.5] * 3 and parity.series[0].upper == pytest.approx([1.4] * 3)
    assert len(figures["profiles"].panels) == 3 and figures["profiles"].panels[0].series[1].y == [1.0] * 3
    assert figures["coverage"].panels[0].series[0].x == list(LEVELS)
    assert [p.x_label for p in figures["errors"].panels] == ["a (m)", "metal"]
    assert figures["errors"].panels[1].categories == ["steel", "copper"] and figures["errors"].panels[0].levels == {"tolerance 0.3": 0.3}
    tables = {t.name: t for t in found.tables}
    assert tables["failures"].rows == [["failed", "it broke", 2]]
    assert tables["failures"].caption.startswith("3 of 4 runs, at a 1.333 to 2 m, metal steel or copper.")
    assert tables["parameters"].rows == [["a", "1 to 2", "m"], ["metal", "steel, copper", "1"]]
    assert tables["parameters"].caption.endswith("Bounds: data.")
