"""The server under load: a short form of `bench/server_load.py`, with limits that a busy machine keeps, too."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = Path(__file__).parents[2] / "bench" / "server_load.py"


@pytest.mark.system
def test_memory_connections_and_the_surrogate_s_answers_stay_as_they_are_under_load(tmp_path):
    """Half a minute near its peak; three times the simulations that it can run; three times the requests that it can answer."""
    output = tmp_path / "load.csv"
    words = ["--minutes", "0.5", "--sample", "1", "--rounds", "2", "--seconds", "4", "--output", output]
    subprocess.run([sys.executable, LOAD, *words], check=True, timeout=280, capture_output=True)
    with output.open() as file:
        rows = {(row["part"], row["what"]): row for row in csv.DictReader(file)}
    value = {key: float(row["value"]) for key, row in rows.items()}
    resident = rows["memory", "resident MB after the first fifth"]
    assert float(resident["high"]) - float(resident["low"]) < 25 and value["memory", "share that was not 200"] == 0
    assert value["slots", "answered 429"] > value["slots", "answered 200"] > 0
    assert value["slots", "429 without Retry-After"] == 0 and value["slots", "their ratio"] < 3
    assert value["flood", "offered, over the peak"] > 2.5 and float(rows["flood", "most open sockets"]["high"]) < 1_024 + 100
    assert float(rows["flood", "MB more than before at most"]["high"]) < 300
    (back,) = [float(row["high"]) for (part, what), row in rows.items() if part == "flood" and what.startswith("s until")]
    assert back < 5
