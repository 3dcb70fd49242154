"""Is the promise kept? Seeded streams of 2,000 requests to an online scenario on the flagship's twin, every answer checked.

    python bench/promise.py [--streams 20] [--requests 2000] [--times 2,4] [--laws evidence,proxima] [--jobs 2]
Three cases (see scenarios/request_streams.py), tolerance so many times the noise of a run, delta = 10 %, from an empty store.
Writes bench/results/promise.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

NOISE = 0.0214  # of a twin run of 12,000 steps over the space; bench/fit_twin.py measures it
QUICK = {"folds": 5, "components": 6, "searched": 80}  # less than by default: more than a thousand fits are made here
CORNER = {"z": (3.0, 3.0), "d": (0.68, 0.75), "c": (0.6, 0.9)}
COLUMNS = ["law", "times", "case", "seed", "requests", "answered", "answered_of_last_500", "broken_share", "limit", "held", "runs", "fits",
           "closings", "error", "seconds"]  # fmt: skip


def stream(job: tuple[str, float, str, int, int]) -> dict[str, object]:
    """One stream, in a process of its own."""
    from mlforhpc.campaign import Campaign
    from mlforhpc.learners import gaussian_process
    from mlforhpc.scenarios.online import Online, Terms
    from mlforhpc.scenarios.request_streams import Overconfident, follow, requests
    from mlforhpc.simulations import nanoconfinement_twin as twins

    law, times, case, seed, n = job
    twin, began = twins.create(), time.monotonic()
    learner = Overconfident(gaussian_process.create(**QUICK)) if case == "overconfident" else (gaussian_process.create(**QUICK))
    terms = Terms(tolerance=times * NOISE, fidelity=twins.FIDELITY, learner=learner, law=law, seed=seed)
    x = requests(twin.space, case, n, corner=CORNER, seed=seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Campaign(folder, engine="serial") as campaign,
        Online(campaign.broker, twin, folder=Path(folder) / "online", terms=terms) as online,
    ):
        course = follow(online, x, twin.truth)
    status, late = course.status, slice(-n // 4, None)
    return dict(zip(COLUMNS, [
        law, times, case, seed, n, int(course.by_surrogate.sum()), float(course.by_surrogate[late].mean()), course.broken_share,
        status.broken_limit, course.limit_held, sum(status.answers.values()) and status.runs, status.fits,
        sum("closed" in text or "too many broken" in text for _, text in status.events),
        float(np.sqrt(np.mean(course.errors[course.by_surrogate] ** 2))) if course.by_surrogate.any() else float("nan"),
        time.monotonic() - began,
    ], strict=True))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--times", default="2,4")
    parser.add_argument("--laws", default="evidence,proxima")
    parser.add_argument("--cases", default="uniform,shifted,overconfident")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "promise.csv")
    said = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    times = [float(t) for t in said.times.split(",")]
    laws, cases = said.laws.split(","), said.cases.split(",")
    jobs = [(law, t, case, seed, said.requests) for seed, law, t, case in itertools.product(range(said.streams), laws, times, cases)]
    rows = []
    with ProcessPoolExecutor(said.jobs) as pool, said.output.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in pool.map(stream, jobs):
            table.writerow(row)
            file.flush()
            rows.append(row)
            print(" ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
    for key in itertools.product(laws, times, cases):
        some = [row for row in rows if (row["law"], row["times"], row["case"]) == key]
        broken, last = ([float(str(row[name])) for row in some] for name in ("broken_share", "answered_of_last_500"))
        held = sum(bool(row["held"]) for row in some)
        print(f"{key}: broken share at most {max(broken):.3f}, mean {np.mean(broken):.3f}; limit held in {held} of {len(some)}; "
              f"answered of the last quarter at least {min(last):.3f}")  # fmt: skip
    sys.exit(0)


if __name__ == "__main__":
    main()
