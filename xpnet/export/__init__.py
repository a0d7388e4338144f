"""Trained models that leave xpnet: as folders that need NumPy alone, as ONNX files, as weights of PyTorch.

Each function takes an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, an `xpnet.runs.Run` or a fitted
estimator of `xpnet.estimators`; the encoder of a table goes with its network, and so do the labels of an
estimator.
"""

from __future__ import annotations

from xpnet.export.numpy_folder import numpy
from xpnet.export.onnx_file import onnx
from xpnet.export.state_dict import from_torch, torch

__all__ = ["from_torch", "numpy", "onnx", "torch"]
