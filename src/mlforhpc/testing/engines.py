"""Does an engine keep its contract? Run by our own tests, and by those of an engine from outside:

    @pytest.mark.parametrize("check", mlforhpc.testing.engines.CHECKS, ids=lambda check: check.__name__)
    def test_my_engine(check):
        check(lambda: my_engine.create(2))
Each check makes an engine, uses it through a broker as scenarios do, and closes it; at its end the trace must show that
no task was lost and that none which had finished ran again. `ENDING` are the checks that need an engine of their own;
all others may be given one that is in use already (`Kept`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlforhpc.core.engine import Engine
from mlforhpc.testing import _engine_calls as calls
from mlforhpc.testing import _engine_lives as lives
from mlforhpc.testing._engine_driving import Create


class Kept:
    """An engine that stays when a check shuts it down: starting another system for each of them would take minutes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def shutdown(self) -> None:
        """Not yet: whoever made it does."""


ENDING: tuple[Callable[[Create], None], ...] = (
    calls.functions_of_the_script,
    lives.killed_driver,
    lives.shutdown,
)

CHECKS: tuple[Callable[[Create], None], ...] = (
    calls.results_and_order,
    calls.remote_traceback,
    calls.exception_that_does_not_unpickle,
    calls.result_that_does_not_pickle,
    calls.exit_in_a_task,
    calls.functions_by_value,
    calls.many_small_tasks,
    calls.large_results,
    calls.shared_array,
    calls.large_array_by_reference,
    calls.same_numbers,
    calls.unplaceable,
    calls.wide_tasks,
    calls.gangs,
    lives.over_limit,
    lives.cancellation,
    lives.killed_worker,
    lives.segmentation_fault,
    lives.killed_slot,
    *ENDING,
)
