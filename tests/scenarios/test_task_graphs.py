"""The families of task graphs: numbers of tasks, dependences and depth, by hand."""

from __future__ import annotations

import pytest

from mlforhpc.scenarios.task_graphs import chain, diamond, fan, independent, layered


@pytest.mark.parametrize(
    ("shape", "parents"),
    [
        (chain(3), ((), (0,), (1,))),
        (fan(2, 1), ((), (0,), (0,), (1, 2))),
        (fan(2, 2), ((), (0,), (0,), (1, 2), (3,), (3,), (4, 5))),
        (diamond(2), ((), (0,), (0,), (1, 2))),
        (independent(2), ((), ())),
    ],
)
def test_small_graphs_are_what_they_are_called(shape, parents):
    """Task by task, parents in the order of the arguments."""
    assert shape.parents == parents and set(shape.weights) == {1.0}


def test_a_diamond_is_a_wavefront():
    """Side 5: 25 tasks, 40 dependences, 9 deep; the centre needs its upper and its left neighbour."""
    shape = diamond(5)
    assert (len(shape.parents), shape.edges, shape.depth) == (25, 40, 9) and shape.parents[12] == (7, 11)


def test_random_layers_need_one_to_three_of_the_layer_before_and_follow_from_the_seed():
    """Weights from 0.5 to 1.5; no parent twice."""
    shape = layered(4, 6, seed=3)
    assert shape == layered(4, 6, seed=3) != layered(4, 6, seed=4)
    assert len(shape.parents) == 24 and shape.depth == 4 and shape.parents[:6] == ((),) * 6
    for task, above in list(enumerate(shape.parents))[6:]:
        assert 1 <= len(above) == len(set(above)) <= 3 and {parent // 6 for parent in above} == {task // 6 - 1}
    assert 0.5 <= min(shape.weights) < 0.8 < 1.2 < max(shape.weights) <= 1.5
