"""What a fit of the default surrogate costs, beside a Cholesky factorisation of a matrix as large as the runs are many.

    python bench/fit_cost.py

CPU seconds of one thread, on the standard emulation functions: the kernel chosen and the process conditioned; the same with the refitted
folds that calibrate its intervals; and learner `auto`, which compares families from 500 runs on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SIZES = (200, 400, 500)


def main() -> None:
    """Print the table in Markdown: medians over functions."""
    import numpy as np
    from scipy.linalg import lapack

    from _emulation import FUNCTIONS, NOISY, SMOOTH, dataset, design
    from mlforhpc.learners import auto, gaussian_process
    from mlforhpc.learners._table import tabulate

    def row(function: str, n: int, seed: int = 0) -> list[float]:
        simulation = FUNCTIONS[function]
        u, y = design(function, n, seed)
        data = dataset(simulation, simulation.space.decode(u), y)
        table, learner = tabulate(data), gaussian_process.create()
        matrix = np.eye(n) + 0.5
        alone = cpu_s(lambda: gaussian_process.fit_whole(table, learner.options, seed))
        whole, chosen = (cpu_s(lambda made=made: made.fit(data, seed=seed)) for made in (learner, auto.create()))
        return [cpu_s(lambda: [lapack.dpotrf(matrix, lower=1) for _ in range(20)]) / 20 * 1e3, alone, whole, chosen, chosen / alone]

    row(SMOOTH[0], 50)  # imports
    print("| runs | Cholesky, ms | fit, s | largest | with calibration, s | auto, s | auto / fit |\n|---|---|---|---|---|---|---|")
    for n in SIZES:
        rows = np.array([row(function, n) for function in (*SMOOTH, *NOISY)])
        cholesky, alone, whole, chosen, ratio = np.median(rows, axis=0)
        print(f"| {n} | {cholesky:.2f} | {alone:.2f} | {rows[:, 1].max():.2f} | {whole:.1f} | {chosen:.1f} | {ratio:.0f} |", flush=True)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # read when NumPy is loaded, so before anything else
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
