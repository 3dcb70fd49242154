"""Hyperparameters: penalised restricted likelihood, by L-BFGS-B released in stages.

First one length and one share for all inputs, then a length and a share each, then growth, which is kept if it raises the
penalised log likelihood by more than one for each of its numbers (Akaike, A new look at the statistical model identification,
IEEE Transactions on Automatic Control 19, 1974). What the data say clearly is settled before what they say faintly; released at
once, the search more often ends in a poor optimum (borehole, OTL, piston and wing weight from 50 runs: mean error 10 % larger).
Where noise was found, short lengths are tried as well: seen from long ones, sin(20 u) is noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from mlforhpc.core.space import FloatArray
from mlforhpc.learners._kernel import Pairs, Singular, restricted_likelihood

FLOOR = 1e-11
"""Smallest nugget, relative to the variance of y."""
LENGTH, SHARE, GROWTH = np.log([0.01, 200.0]), np.array([-7.0, 7.0]), np.array([-2.0, 2.0])
VARIANCE, NOISE_SCALE, NUGGET = np.log([1e-4, 1e5]), np.log([1e-2, 1e2]), np.log([FLOOR, 4.0])
STARTS = (-2.0, 2.0)
"""Logits of the shares that the search starts from: nearly additive, and all inputs interacting."""
SHORT, NOISY = 4.0, 0.01
"""How much shorter the lengths are that are tried if noise has more than this share of the variance."""
ROWS = (100, 200)
"""Rows on which the start is chosen, and on which growth is; all that are searched decide in the end."""
EARLY, MIDDLE, LAST = 1e-4, 5e-5, 2e-5
"""Relative change of the likelihood that ends a search: of starts, before growth, and after. 1e-5 for the last two takes a fifth longer;
at 200 runs the error of borehole is then a seventh smaller, of the other functions of docs/surrogate-accuracy.md the same."""
MEMORY = 30
"""Steps that L-BFGS remembers: its usual 10 are fewer than the numbers sought, and end farther from the optimum after more of them."""


@dataclass(frozen=True, slots=True)
class Penalised:
    """-log of the restricted likelihood with the penalty of `prior`: pairs of inputs (n, d), y (n,), v (n,), h (n, p)."""

    pairs: Pairs
    y: FloatArray
    v: FloatArray
    h: FloatArray

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        centre, width = prior(self.pairs.u.shape[1])
        z = (theta - centre) / width
        try:
            value, gradient = restricted_likelihood(theta, self.pairs, self.y, self.v, self.h)
        except Singular:
            return 1e25, np.zeros_like(theta)
        return value + 0.5 * float(z @ z), gradient + z / width

    def released(self, theta: FloatArray, directions: FloatArray, *, ftol: float = EARLY) -> tuple[FloatArray, float]:
        """The best theta + directions @ step, inside the bounds, and its value; each column moves equal entries.

        Steps are in widths of the prior, which makes the search a third shorter; ftol is relative, as L-BFGS-B's.
        """
        d = self.pairs.u.shape[1]
        width = prior(d)[1]
        scaled, first = directions * width[:, None], np.argmax(directions, axis=0)

        def along(step: FloatArray) -> tuple[float, FloatArray]:
            value, gradient = self(theta + scaled @ step)
            return value, gradient @ scaled

        bounds = np.array([LENGTH] * d + [SHARE] * d + [GROWTH] * d + [VARIANCE, VARIANCE, NOISE_SCALE, NUGGET])
        room = ((bounds - theta[:, None]) / width[:, None])[first]
        start = np.zeros(directions.shape[1])
        found = minimize(along, start, jac=True, method="L-BFGS-B", bounds=room, options={"maxiter": 150, "maxcor": MEMORY, "ftol": ftol})
        return theta + scaled @ found.x, float(found.fun)


def hyperparameters(
    u: FloatArray, y: FloatArray, v: FloatArray, h: FloatArray, fixed: FloatArray, *, rng: np.random.Generator, starts: int
) -> FloatArray:
    """The best theta (3 d + 4,) of a few starts: the best with one length, and random lengths around it.

    Args:
        u, y, v, h: as in `Penalised`; rows in random order.
        fixed: length of each input that has a given one, NaN for the others (d,).
        rng, starts: of the random starts.
    """
    n, d = u.shape
    entries, free = np.eye(3 * d + 4), np.isnan(fixed)
    lengths, shares, growth, noise = entries[:, :d][:, free], entries[:, d : 2 * d], entries[:, 2 * d : 3 * d][:, free], entries[:, 3 * d :]
    plain = np.hstack([lengths, shares, noise])
    together = np.hstack([part.sum(axis=1, keepdims=True) for part in (lengths, shares) if part.shape[1]] + [noise])

    def likelihood(rows: int) -> Penalised:
        return Penalised(Pairs.of(u[:rows]), y[:rows], v[:rows], h[:rows])

    def settled(logit: float, shorter: float = 1.0) -> FloatArray:
        theta = prior(d)[0]
        theta[:d] = np.where(free, theta[:d] - np.log(4.0 * shorter), np.log(np.where(free, 1.0, fixed)))
        theta[d : 2 * d] = logit
        theta[-1] = np.log(0.01)
        return some.released(theta, together)[0]

    some, found = likelihood(ROWS[0]), []
    for i in range(2 * starts):
        theta = settled(STARTS[i % 2])
        if i > 1:
            theta[:d][free] = np.clip(theta[:d][free] + rng.uniform(-1.5, 1.5, size=int(free.sum())), *LENGTH)
        found.append(some.released(theta, plain))
    theta, value = min(found, key=lambda pair: pair[1])
    if free.any() and np.exp(theta[-1]) + np.exp(theta[-2]) * v.mean() > NOISY + v.mean():
        found += [some.released(settled(logit, SHORT), plain) for logit in STARTS]
        theta, value = min(found, key=lambda pair: pair[1])
    if n > ROWS[0]:
        some = likelihood(ROWS[1])
        theta, value = some.released(theta, plain, ftol=MIDDLE)
    released = plain
    if growth.shape[1]:
        grown = some.released(theta, np.hstack([plain, growth]), ftol=LAST)
        if value - grown[1] > growth.shape[1]:
            theta, released = grown[0], np.hstack([plain, growth])
    return likelihood(n).released(theta, released, ftol=LAST)[0] if n > ROWS[1] else theta


def prior(d: int) -> tuple[FloatArray, FloatArray]:
    """Centre and width of the normal penalty on theta; lengths grow with sqrt(d), as distances in the cube do.

    Shares are small, so that many inputs at once interact only if the runs say so, and growth smaller the more inputs it could come
    from. Hvarfner, Hellsten & Nardi, Vanilla Bayesian Optimization Performs Great in High Dimensions, 2024.
    """
    centre = np.array([np.log(2.0) + 0.5 * np.log(d)] * d + [-1.0] * d + [0.0] * d + [-2.0, 0.0, 0.0, np.log(1e-3)])
    width = np.array([3.0] * d + [3.0] * d + [min(0.5, 2.0 / d)] * d + [2.0, 4.0, 1.0, 5.0])
    return centre, width
