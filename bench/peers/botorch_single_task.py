"""BoTorch SingleTaskGP, defaults of its version (RBF, log-normal priors), double precision, Normalize and Standardize."""

from __future__ import annotations

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from measuring import NORMAL_90, Answer, Predict

PACKAGES = ("botorch", "gpytorch", "torch", "numpy")
HOW = "one model a component"
torch.set_num_threads(1)


def fit(x: np.ndarray, y: np.ndarray, *, seed: int, noisy: bool) -> Predict:
    """Inputs in the unit cube (n, d), outputs (n,)."""
    torch.manual_seed(seed)
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(y)[:, None]
    model = SingleTaskGP(inputs, outputs, input_transform=Normalize(x.shape[1]), outcome_transform=Standardize(1))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    model.eval()

    def predict(points: np.ndarray) -> Answer:
        with torch.no_grad():
            posterior = model.posterior(torch.from_numpy(points)[:, None, :], observation_noise=True)  # a batch of points
            mean, deviation = posterior.mean[:, 0, 0].numpy(), posterior.variance[:, 0, 0].sqrt().numpy()
        return mean, mean - NORMAL_90 * deviation, mean + NORMAL_90 * deviation

    return predict
