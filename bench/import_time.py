"""`import mlforhpc` in a fresh interpreter, less what NumPy alone takes; in turn, because the machine is never quiet."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    return float(subprocess.run([sys.executable, "-c", TIMED.format(module)], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=11)
    a = parser.parse_args()
    seconds("mlforhpc")
    pairs = [(seconds("mlforhpc"), seconds("numpy")) for _ in range(a.pairs)]
    beyond = [ours - numpy for ours, numpy in pairs]
    print("pair  mlforhpc s  numpy s  beyond s")
    for i, (ours, numpy) in enumerate(pairs):
        print(f"{i:>4}  {ours:>10.3f}  {numpy:>7.3f}  {ours - numpy:>8.3f}")
    print(f"median beyond NumPy {statistics.median(beyond):.3f} s  (lowest {min(beyond):.3f}, highest {max(beyond):.3f})")


if __name__ == "__main__":
    main()
