"""MLforHPC: simulation and machine learning as one job, every claim a gain at equal quality.

    import mlforhpc as ml
    simulation = ml.simulation(function, space=ml.Space(x=ml.Real(0, 1)), outputs="y")
    with ml.Campaign("my-runs") as campaign:
        learned = ml.surrogate(campaign.broker, simulation, budget=60)

Importing this pulls in the standard library and NumPy, nothing else; each name below loads its file when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlforhpc.core.errors import MLforHPCError, TaskError, UsageError
from mlforhpc.core.learner import Dataset, Prediction
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, Integer, Real, Space

if TYPE_CHECKING:
    from mlforhpc.campaign import Campaign
    from mlforhpc.learners._loading import load
    from mlforhpc.learners._onnx import export_onnx
    from mlforhpc.scenarios.online import Busy, Online, Terms
    from mlforhpc.scenarios.surrogate import surrogate
    from mlforhpc.simulations._executable import executable
    from mlforhpc.simulations._function import simulation
    from mlforhpc.simulations._reading import Columns, Json, Pattern

__version__ = "0.1.0"

_LATER = {
    "Busy": "mlforhpc.scenarios.online",
    "Campaign": "mlforhpc.campaign",
    "Columns": "mlforhpc.simulations._reading",
    "Json": "mlforhpc.simulations._reading",
    "Online": "mlforhpc.scenarios.online",
    "Pattern": "mlforhpc.simulations._reading",
    "Terms": "mlforhpc.scenarios.online",
    "executable": "mlforhpc.simulations._executable",
    "export_onnx": "mlforhpc.learners._onnx",
    "load": "mlforhpc.learners._loading",
    "simulation": "mlforhpc.simulations._function",
    "surrogate": "mlforhpc.scenarios.surrogate",
}

__all__ = [
    "Busy",
    "Campaign",
    "Choice",
    "Columns",
    "Dataset",
    "Integer",
    "Json",
    "MLforHPCError",
    "Online",
    "Output",
    "Outputs",
    "Pattern",
    "Prediction",
    "Real",
    "Space",
    "TaskError",
    "Terms",
    "UsageError",
    "executable",
    "export_onnx",
    "load",
    "simulation",
    "surrogate",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'mlforhpc' has no attribute '{name}'")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
