"""The graph of an exported surrogate (`learners/_onnx.py`) as a PyTorch module: an operator of the graph, a call of torch, in float64.

What comes out is a `torch.fx.GraphModule`: plain generated Python, run eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import fx

from mlforhpc.core.errors import UsageError

_ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "MatMul": torch.matmul, "Max": torch.maximum,
    "Min": torch.minimum, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Tanh": torch.tanh, "Abs": torch.abs,
    "Where": torch.where, "Less": torch.lt, "LessOrEqual": torch.le, "GreaterOrEqual": torch.ge, "And": torch.logical_and,
}  # fmt: skip
_REDUCED: Mapping[str, Callable[..., Any]] = {"ReduceSum": torch.sum, "ReduceMean": torch.mean, "ReduceMin": torch.amin}


def module_of(path: Path, outputs: Sequence[str]) -> fx.GraphModule:
    """The module of a graph with one input: a tuple of these outputs.

    Raises:
        UsageError: an operator that no surrogate uses.
    """
    source = onnx.load(path).graph
    graph = _Translation({c.name: numpy_helper.to_array(c) for c in source.initializer})
    graph.values[source.input[0].name] = graph.made.placeholder("x")
    for node in source.node:
        graph.values[node.output[0]] = graph.translated(node)
    graph.made.output(tuple(graph.values[name] for name in outputs))
    graph.made.eliminate_dead_code()
    return fx.GraphModule(graph.root, graph.made)


class _Translation:
    """Grows node by node; constants become buffers where a tensor is wanted."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self.root, self.made = torch.nn.Module(), fx.Graph()
        self.values: dict[str, fx.Node] = {}
        self._constants = constants

    def translated(self, node: onnx.NodeProto) -> fx.Node:
        """The call that stands for a node."""
        kind, given = node.op_type, list(node.input)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        call = self.made.call_function
        if kind in _ELEMENTWISE:
            return call(_ELEMENTWISE[kind], tuple(self._tensor(name) for name in given))
        if kind in _REDUCED:
            return call(_REDUCED[kind], (self._tensor(given[0]),), {"dim": self._numbers(given[1])})
        if kind == "Concat":
            return call(torch.cat, ([self._tensor(name) for name in given], attributes["axis"]))
        first = self._tensor(given[0])
        if kind == "Gather":
            axis, index = attributes.get("axis", 0), self._constants[given[1]]
            chosen = (torch.index_select, self._tensor(given[1])) if index.ndim else (torch.select, int(index))
            return call(chosen[0], (first, axis, chosen[1]))
        if kind == "Reshape":
            return call(torch.reshape, (first, self._numbers(given[1])))
        if kind == "Unsqueeze":
            return call(torch.unsqueeze, (first, *self._numbers(given[1])))
        if kind == "Transpose":
            return call(torch.permute, (first, list(attributes["perm"])))
        if kind == "Cast":
            return self.made.call_method("to", (first, torch.float64))
        raise UsageError(f"The operator '{kind}' is not known to the PyTorch backend; known are those of exported surrogates.")

    def _numbers(self, name: str) -> list[int]:
        return [int(value) for value in self._constants[name]]

    def _tensor(self, name: str) -> fx.Node:
        if name not in self.values:
            attribute = f"constant_{len(self.values)}"
            self.root.register_buffer(attribute, torch.from_numpy(np.array(self._constants[name])))
            self.values[name] = self.made.get_attr(attribute)
        return self.values[name]
