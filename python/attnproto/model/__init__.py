"""What an M4 will do: times of kernels, predicted from exact counts of what they do.

Nothing here was measured by this project, and every number says so: its tier is ``modelled``.
docs/model.md has the physics, the constants and where the model is known to be wrong.
"""

from __future__ import annotations

from .chip import CHIPS, M4, Chip, Constant
from .launches import predict
from .prediction import Prediction, predict_published, predict_work
from .scope import Attention
from .work import Work

__all__ = [
    "CHIPS",
    "M4",
    "Attention",
    "Chip",
    "Constant",
    "Prediction",
    "Work",
    "predict",
    "predict_published",
    "predict_work",
]
