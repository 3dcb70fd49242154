"""A task graph on a broker: each task is submitted when its parents are done, and gets their values as arguments.

    graph = {"mesh": Node(mesh, (64,)), "left": Node(solve, ("left",), parents=("mesh",)), "both": Node(join, parents=("left", "mesh"))}
    run_graph(broker, graph).complete()["both"]         # join(value of left, value of mesh)

A task that fails takes down what needs it and nothing else. Values travel by value: for a large array pass a `broker.share` reference.
"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import TaskError, UsageError
from mlforhpc.core.task import Kind, Resources

_PLAIN = Resources()


@dataclass(frozen=True, slots=True)
class Node:
    """A task of a graph, before it is submitted.

    Attributes:
        function: called as function(*args, *values of the parents, in their order).
        args: its own arguments.
        parents: names of the tasks it needs.
        kind, resources, limit_s: as `Broker.submit` takes them.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    parents: tuple[str, ...] = ()
    kind: Kind = "prepare"
    resources: Resources = _PLAIN
    limit_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a graph.

    Attributes:
        values: of the tasks that ended well.
        failed: task -> its error, which holds the remote traceback.
        not_run: tasks that need a failed one, in the graph's order.
    """

    values: Mapping[str, Any]
    failed: Mapping[str, TaskError]
    not_run: tuple[str, ...]

    def complete(self) -> Mapping[str, Any]:
        """The values of all tasks.

        Raises:
            TaskError: some failed; it says which, and what was not run.
        """
        for name, error in self.failed.items():
            others = f", as did {_listed(list(self.failed)[1:])}" if len(self.failed) > 1 else ""
            left = f" Not run, as they need what failed: {_listed(self.not_run)}." if self.not_run else ""
            message = f"Task '{name}' of the graph ended as {error.outcome}{others}.{left}"
            raise TaskError(message, outcome=error.outcome, remote_traceback=error.remote_traceback) from error
        return self.values


def run_graph(broker: Broker, graph: Mapping[str, Node], *, prefix: str = "") -> Ran:
    """Run every task whose parents end well.

    Args:
        broker: where.
        graph: name -> task.
        prefix: of the tasks' labels in the trace; the name follows.

    Raises:
        UsageError: before anything is submitted, where a parent is no task of the graph, or tasks wait for each other in a circle.
    """
    order = _sorted(graph)
    ended: SimpleQueue[str] = SimpleQueue()
    running: dict[str, Future[Any]] = {}
    values: dict[str, Any] = {}
    failed: dict[str, TaskError] = {}
    try:
        while True:
            for name in order.get_ready():
                node = graph[name]
                arguments = (*node.args, *(values[parent] for parent in node.parents))
                running[name] = broker.submit(
                    node.kind, node.function, *arguments, resources=node.resources, limit_s=node.limit_s, label=f"{prefix}{name}"
                )
                running[name].add_done_callback(lambda _, name=name: ended.put(name))  # type: ignore[misc]
            if not running:
                break
            name = ended.get()
            try:
                values[name] = running.pop(name).result()
            except TaskError as error:
                failed[name] = error
            else:
                order.done(name)
    except BaseException:
        for future in running.values():
            broker.cancel(future)
        raise
    return Ran(values=values, failed=failed, not_run=tuple(name for name in graph if name not in values and name not in failed))


def _sorted(graph: Mapping[str, Node]) -> graphlib.TopologicalSorter[str]:
    for name, node in graph.items():
        for parent in node.parents:
            if parent not in graph:
                raise UsageError(f"Task '{name}' of the graph needs '{parent}', which is no task of it; known are {_listed(list(graph))}.")
    order = graphlib.TopologicalSorter({name: node.parents for name, node in graph.items()})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1])
        raise UsageError(f"Tasks of the graph wait for each other in a circle: {circle}. Take out one of these edges.") from None
    return order


def _listed(names: list[str] | tuple[str, ...]) -> str:
    """At most five of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"'{name}'" for name in names[:5]) + more
