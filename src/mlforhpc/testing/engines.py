"""Does an engine keep its contract? Run by our own tests, and by those of an engine from outside:

    @pytest.mark.parametrize("check", mlforhpc.testing.engines.CHECKS, ids=lambda check: check.__name__)
    def test_my_engine(check):
        check(lambda: my_engine.create(2))
Each check makes an engine, uses it through a broker as scenarios do, and closes it; at its end the trace must show that
no task was lost and that none which had finished ran again. `ENDING` are the checks that need an engine of their own;
all others may be given one that is in use already, and whose `shutdown` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from mlforhpc.testing import _engine_calls as calls
from mlforhpc.testing import _engine_lives as lives
from mlforhpc.testing._engine_driving import Create

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
    lives.over_limit,
    lives.cancellation,
    lives.killed_worker,
    lives.segmentation_fault,
    lives.killed_slot,
    *ENDING,
)
