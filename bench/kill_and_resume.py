"""Kill a worker, the driver or the simulation's own process at random moments of a campaign; then resume and count.

    python bench/kill_and_resume.py --moments 20

Each simulation is an executable of its own process that leaves its key in a file of its own when it ends. After the kill, the
records that the store holds are those acknowledged; after resumption there must be one record a point, every acknowledged one
unchanged, no acknowledged simulation run twice, and no process left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from mlforhpc.store import FolderStore

POINTS = 24
CAMPAIGN = """
import subprocess, sys, uuid
from pathlib import Path
import mlforhpc as ml

FILES = Path({files!r})

def member(a, b, seed):
    program = "import sys, time; time.sleep(0.08); open(sys.argv[1], 'x').close()"
    subprocess.run([sys.executable, "-S", "-c", program, str(FILES / f"{{seed}}.{{uuid.uuid4().hex}}")], check=True)
    return a * b

simulation = ml.simulation(member, name="member", version="1", outputs=[ml.Output(name="y")],
                           space=ml.Space(a=ml.Real(0, 1), b=ml.Real(0, 1)))
with ml.Campaign({folder!r}, engine="processes", slots=2) as campaign:
    ml.surrogate(campaign.broker, simulation, budget={points}, seed=0)
"""


def campaign(root: Path) -> subprocess.Popen:
    """Start (or resume) the campaign below `root` in a process of its own."""
    (root / "files").mkdir(exist_ok=True)
    script = root / "campaign.py"
    script.write_text(CAMPAIGN.format(files=str(root / "files"), folder=str(root / "campaign"), points=POINTS))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def descendants(driver: subprocess.Popen) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Workers, and what the workers started."""
    try:
        workers = psutil.Process(driver.pid).children()
        return workers, [child for worker in workers for child in worker.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [], []


def acknowledged(root: Path) -> dict[str, int]:
    """Key -> seed of every record in the store."""
    if not (root / "campaign" / "store").exists():
        return {}
    with FolderStore.open(root / "campaign" / "store", read_only=True) as store:
        return {record.key: record.seed for record in store.scan() if record.outcome == "ok"}


def strike(root: Path, what: str, after_s: float) -> dict[str, object]:
    """One moment: kill, resume, count. Returns what was found; `wrong` is empty if everything held."""
    driver = campaign(root)
    events = root / "campaign" / "events.jsonl"
    while driver.poll() is None and not (events.exists() and b'"started"' in events.read_bytes()):
        time.sleep(0.01)
    time.sleep(after_s)
    before = acknowledged(root)
    workers, programs = descendants(driver)
    victims = {"driver": [driver], "worker": workers[:1], "simulation": programs[:1]}[what]
    hit = 0
    for victim in victims:
        try:
            os.kill(victim.pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            continue
    driver.communicate(timeout=120)
    left = [p for p in (*workers, *programs) if _alive_after(p, 2.0)]
    kept = acknowledged(root) if what == "driver" else before  # acknowledged when the blow fell
    again = campaign(root)
    _, error = again.communicate(timeout=120)
    final = acknowledged(root)
    counts = Counter(int(path.name.split(".")[0]) for path in (root / "files").iterdir())
    failed = _failed(root)
    wrong = []
    if again.returncode:
        wrong.append(f"resumption ended with {again.returncode}: {error.decode()[-300:]}")
    if left:
        wrong.append(f"{len(left)} processes left behind")
    if set(kept) - set(final):
        wrong.append(f"{len(set(kept) - set(final))} acknowledged records lost")
    if failed != (hit if what == "simulation" else 0):
        wrong.append(f"{failed} failed records, though only a killed simulation fails")
    if len(final) + failed != POINTS:
        wrong.append(f"{len(final)} records and {failed} failed ones, wanted {POINTS}")
    if twice := [seed for seed in kept.values() if counts[seed] != 1]:
        wrong.append(f"{len(twice)} acknowledged simulations ran twice")
    return {"what": what, "after_s": round(after_s, 3), "hit": hit, "kept": len(kept), "failed": failed, "wrong": wrong}


def _failed(root: Path) -> int:
    """A killed simulation process is a failed record, an answer; it is not repeated."""
    with FolderStore.open(root / "campaign" / "store", read_only=True) as store:
        return sum(record.outcome == "failed" for record in store.scan())


def _alive_after(process: psutil.Process, patience_s: float) -> bool:
    try:
        process.wait(timeout=patience_s)
    except psutil.TimeoutExpired:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return False


def main() -> None:
    """Strike at every moment and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    bad = 0
    for i in range(options.moments):
        with tempfile.TemporaryDirectory() as root:
            found = strike(Path(root), ("driver", "worker", "simulation")[i % 3], rng.uniform(0.0, 1.2))
        bad += bool(found["wrong"])
        print(json.dumps(found), flush=True)
    print(f"{options.moments - bad} of {options.moments} moments held")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
