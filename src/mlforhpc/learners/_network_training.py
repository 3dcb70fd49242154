"""Training of several multilayer perceptrons at once, with torch; what comes out are plain arrays.

    h_0 = v,   h_l = silu(h_{l-1} W_l + b_l),   z = h_{L-1} W_L + b_L
    loss = mean over runs and scores of w (z - target)^2  +  decay / runs * (sum_l |W_l|^2, the last one times 0.3)

A penalty over the number of runs is a normal prior of the weights whose width no data set changes (MacKay, A Practical
Bayesian Framework for Backpropagation Networks, Neural Computation 4, 1992). Adam (Kingma & Ba 2015) with a rate that rises,
then falls as a cosine (Loshchilov & Hutter 2017); silu: Elfwing, Uchibe & Doya, Neural Networks 107, 2018. Small first weights
make smooth functions. Small networks cost calls, not arithmetic: twelve of them together take as long as three alone.

float32, one thread, random numbers from NumPy: the same digits on every engine, and no state of torch is left changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from mlforhpc.core.space import FloatArray

BATCH = 64
"""Runs an update; as good as all of them, and its cost does not grow with them."""
RATE, BETAS, RISE = 1e-2, (0.9, 0.99), 0.05
FIRST, LAST, BIAS = 0.25, 0.1, 0.1
"""Initial deviations: of the first layer's weights relative to sqrt(2 / inputs), of the last one's to sqrt(1 / inputs), of biases."""
LAST_DECAY = 0.3


def train(
    inputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray,
    decay: FloatArray,
    *,
    hidden: tuple[int, ...],
    updates: int,
    seeds: Sequence[int],
) -> list[FloatArray]:
    """Train b networks on the same runs, each with its own weights, decay and seed.

    Args:
        inputs: (n, e).
        targets: (n, k).
        weights: of each target in each network's loss (b, n, k); zero in a row leaves the run out.
        decay: (b,).
        hidden: units of the hidden layers.
        updates: steps of the optimiser.
        seeds: of the initial weights, one a network; the first one also of the batches.

    Returns:
        W_1, b_1, W_2, b_2, ...: (b, units below, units) and (b, 1, units).
    """
    start = initial((inputs.shape[1], *hidden, targets.shape[1]), seeds)
    if not targets.size:
        return start
    with _one_thread(), torch.enable_grad():
        parameters = [torch.tensor(p, dtype=torch.float32, requires_grad=True) for p in start]
        runs = weights.any(axis=2).sum(axis=1)  # (b,)
        v, t = (torch.tensor(a, dtype=torch.float32) for a in (inputs, targets))
        w = torch.tensor(weights / (runs[:, None, None] * targets.shape[1]), dtype=torch.float32)
        penalty = torch.tensor(decay / runs, dtype=torch.float32)[:, None, None]
        pull = [2.0 * (LAST_DECAY if i == len(hidden) else 1.0) * penalty for i in range(len(hidden) + 1)]
        optimiser = torch.optim.Adam(parameters, lr=RATE, betas=BETAS, fused=True)
        for step, rows in enumerate(_batches(len(inputs), updates, int(seeds[0]))):
            optimiser.param_groups[0]["lr"] = RATE * _schedule(step, updates)
            index = torch.from_numpy(rows)
            misfit = _forward(v[index].expand(len(seeds), -1, -1), parameters) - t[index]
            slopes = torch.autograd.grad(misfit, parameters, 2.0 * (len(inputs) / len(rows)) * w[:, index] * misfit.detach())
            for i, (parameter, slope) in enumerate(zip(parameters, slopes, strict=True)):
                parameter.grad = slope if i % 2 else slope.addcmul_(parameter.detach(), pull[i // 2])  # biases are not pulled to zero
            optimiser.step()
        return [p.detach().numpy().astype(float) for p in parameters]


def initial(sizes: tuple[int, ...], seeds: Sequence[int]) -> list[FloatArray]:
    """Weights and biases to start from, layer by layer, one network a seed."""
    rngs = [np.random.default_rng(seed) for seed in seeds]
    parameters: list[FloatArray] = []
    for layer, (below, units) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(sizes) - 2
        gain = LAST if last else np.sqrt(2.0) * (FIRST if layer == 0 else 1.0)
        parameters.append(np.stack([rng.standard_normal((below, units)) for rng in rngs]) * gain / np.sqrt(below))
        parameters.append(np.stack([rng.standard_normal((1, units)) for rng in rngs]) * (0.0 if last else BIAS))
    return parameters


def _forward(h: torch.Tensor, parameters: list[torch.Tensor]) -> torch.Tensor:
    for i in range(0, len(parameters), 2):
        h = torch.baddbmm(parameters[i + 1], h, parameters[i])  # (b, rows, units)
        if i < len(parameters) - 2:
            h = torch.nn.functional.silu(h)
    return h


def _batches(n: int, updates: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Rows of each update: all of them if they are few, else the next `BATCH` of one random order after another."""
    rng, order = np.random.default_rng(seed), np.arange(0)
    for _ in range(updates):
        if n <= BATCH:
            yield np.arange(n)
            continue
        if len(order) < BATCH:
            order = np.concatenate([order, rng.permutation(n)])
        yield order[:BATCH]
        order = order[BATCH:]


def _schedule(step: int, updates: int) -> float:
    """Share of the rate, in [0, 1]."""
    return float(0.5 * (1.0 + np.cos(np.pi * step / updates)) * min(1.0, (step + 1) / (RISE * updates)))


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
