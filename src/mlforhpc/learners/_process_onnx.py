"""The Gaussian processes as nodes of an ONNX graph: `_model.Model.moments`, line by line; k processes, n points."""

from __future__ import annotations

import numpy as np

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._model import Model
from mlforhpc.learners._onnx import Graph, RunInterval, from_components, interval, run_noise


def add_model(graph: Graph, u: str, model: Model, width: FloatArray) -> RunInterval:
    """From the unit cube `u` (n, d) to the interval for a run; width (m,): see `_onnx.interval`."""
    add, constant = graph.add, graph.constant
    runs = model.weights.shape[1]
    w = add("Transpose", graph.scaled(u, 2.0, -1.0), perm=[1, 0])  # (d, n)
    cross = _correlations(graph, w, model)  # (k, runs, n)
    one = add("Add", add("Mul", graph.reduced("ReduceSum", w, 0), constant(0.0)), constant(1.0))  # (n,)
    slopes = add("Gather", w, constant(np.flatnonzero(model.ordered).astype(np.int64)), axis=0)
    basis = add("Concat", add("Unsqueeze", one, constant([0])), slopes, axis=0)  # (p, n)
    e = add("Exp", add("MatMul", constant(model.growth), w))  # (k, n)
    weighed = graph.reduced("ReduceSum", add("Mul", cross, constant(model.weights[:, :, None])), 1)
    scores = add("Add", add("Mul", weighed, e), add("MatMul", constant(model.trend), basis))
    white = add("MatMul", constant(model.whiten[:, :runs]), cross)
    left = add("Mul", add("MatMul", constant(model.whiten[:, runs:]), cross), add("Unsqueeze", e, constant([1])))
    left = add("Add", left, add("MatMul", constant(model.trend_whiten), basis))  # (k, p, n)
    e2 = add("Mul", e, e)
    prior = add("Mul", e2, constant(model.variance[:, None]))
    known = add("Mul", e2, graph.reduced("ReduceSum", add("Mul", white, white), 1))
    variances = add("Max", add("Sub", prior, known), constant(0.0))
    variances = add("Add", variances, graph.reduced("ReduceSum", add("Mul", left, left), 1))
    reach = add("MatMul", constant(model.share), add("Div", variances, prior))  # (n,)
    mean = from_components(graph, add("Transpose", scores, perm=[1, 0]), model.vectors, model.centre)
    floor = model.rest + model.misfit + model.unstated
    variance = from_components(graph, add("Transpose", variances, perm=[1, 0]), model.squares, floor)
    if len(model.noise):
        each = np.full(len(model.scale), 1.0 / float(model.fidelity))
        variance = add("Add", variance, run_noise(graph, u, model.lengths.shape[1], model.noise, each))
    return interval(graph, mean, variance, model.scale, width, add("LessOrEqual", reach, constant(float(model.farthest))))


def _correlations(graph: Graph, w: str, model: Model) -> str:
    """`Model.latent`'s correlations with the runs (k, runs, n), a factor for each input after another."""
    add, constant = graph.add, graph.constant
    one = add("Add", add("Mul", w, constant(0.0)), constant(1.0))
    powers = add("Concat", *(add("Unsqueeze", a, constant([1])) for a in (w, one, add("Mul", w, w))), axis=1)  # (d, 3, n)
    exponents = add("MatMul", constant(model.inputs), powers)  # (k, d, runs, n)
    factors = add("Add", add("Exp", exponents), constant((1.0 - model.shares)[:, :, None, None]))
    product = ""
    for j in range(model.lengths.shape[1]):
        factor = add("Gather", factors, constant(np.asarray(j)), axis=1)
        product = add("Mul", product, factor) if product else factor
    return product
