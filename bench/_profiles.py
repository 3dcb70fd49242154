"""A simulation of microseconds with the flagship's parameters and outputs, for what does not depend on what is computed."""

from __future__ import annotations

import numpy as np

from mlforhpc.core.simulation import Outputs
from mlforhpc.simulations._function import simulation
from mlforhpc.simulations.nanoconfinement import Nanoconfinement

BINS = Nanoconfinement.outputs[0].shape[0]


def profiles(h: float, c: float, z: int, d: float) -> Outputs:
    """Two layers at the walls that decay towards the middle; six numbers read off them."""
    at = (np.arange(BINS) + 0.5) / BINS * (h - d)
    decay = 0.3 * np.sqrt(1.0 / (c * z))
    wall = np.exp(-at / decay) + np.exp(-((h - d) - at) / decay)
    values = {"cations": c * (1.0 + z * wall), "anions": c * (1.0 + 0.2 * wall * np.exp(-at / h))}
    arrays = {
        o.name: values["cations" if o.name.startswith(Nanoconfinement.outputs[0].name) else "anions"] for o in Nanoconfinement.outputs
    }
    return Outputs(values={o.name: arrays[o.name] if o.shape else np.array(arrays[o.name][0]) for o in Nanoconfinement.outputs})


PROFILES = simulation(profiles, space=Nanoconfinement.space, outputs=Nanoconfinement.outputs, name="profiles", version="1")
