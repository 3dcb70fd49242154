"""How the simulating went, in the report: what was foreseen against where the estimates of the error came to stay below the tolerance."""

from __future__ import annotations

import pytest

from mlforhpc.scenarios.course import Course, course_table
from mlforhpc.scenarios.learning_curve import Forecast, Look


def course(errors, *, foreseen=(30.0, 25.0, 40.0), stopped="tolerance 0.1 reached, 40 runs"):
    """Looks at 20, 25, ... runs with these errors and limits a third above them."""
    looks = [Look(runs=20 + 5 * i, error=e, upper=4 * e / 3) for i, e in enumerate(errors)]
    runs, lower, upper = foreseen
    return Course(looks=looks, forecast=Forecast(tolerance=0.1, at=20, runs=runs, lower=lower, upper=upper), stopped=stopped)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0.3, 0.2, 0.09, 0.07), "from 30 on, inside that interval"),
        ((0.3, 0.09, 0.2, 0.15, 0.12, 0.09), "from 45 on, outside that interval"),
        ((0.09, 0.07), "from 20 on, outside that interval"),
        ((0.3, 0.2, 0.11), "it was not reached with 30"),
    ],
)
def test_a_forecast_is_judged_by_where_the_error_stays_below(errors, said):
    """A single estimate below it does not count if a later one is above."""
    assert said in course_table(course(errors)).caption


def test_what_was_out_of_sight_is_said():
    """An infinite forecast is put in words, and the reason ends with one full stop."""
    caption = course_table(course((0.3, 0.2), foreseen=(float("inf"), 20.0, float("inf")), stopped="All 25 runs came back.")).caption
    assert "out of sight" in caption and caption.endswith("It ended because: All 25 runs came back.")
