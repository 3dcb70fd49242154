"""Stores, records and small disks for the tests of the store."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.store import FolderStore

WRITER = Path(__file__).with_name("writer_process.py")


@pytest.fixture(scope="session")
def make_record():
    """make_record(i, size=20, **changes)."""
    return runpy.run_path(str(WRITER))["make_record"]


@pytest.fixture
def store(tmp_path):
    """A new store on this disk, closed at the end."""
    with FolderStore.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def writer():
    """writer(folder, first, count, group, *mode) starts a writing process; its output is what it got acknowledged."""
    processes = []

    def start(*arguments):
        command = [sys.executable, str(WRITER), *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB of its own; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def same():
    """same(a, b): two records agree in every field and every bit of their arrays."""

    def compare(a, b):
        plain = [name for name in a.__slots__ if name not in ("outputs", "standard_errors")]
        return all(getattr(a, name) == getattr(b, name) for name in plain) and all(
            list(getattr(a, group)) == list(getattr(b, group))
            and all(_bits(getattr(a, group)[name]) == _bits(getattr(b, group)[name]) for name in getattr(a, group))
            for group in ("outputs", "standard_errors")
        )

    return compare


def _bits(array):
    return array.shape, np.asarray(array, dtype=float).tobytes()
