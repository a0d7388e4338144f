"""Training: the trainer, metrics, callbacks, logs, checkpoints, restarts.

Everything loads when it is first used, as in :mod:`xpnet`: the command line reads the settings from here
before NumPy is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy

if TYPE_CHECKING:
    from xpnet.train import diagnostics
    from xpnet.train.agreement import ParityReport, ParityRow, parity
    from xpnet.train.callbacks import Callback
    from xpnet.train.checkpoint_callback import Checkpoints
    from xpnet.train.diagnostics import Diagnostics
    from xpnet.train.history import Best, History
    from xpnet.train.logs import CSVLog, JSONLinesLog, TensorBoard
    from xpnet.train.metrics import METRICS, accuracy, r2
    from xpnet.train.progress import ProgressBar, ProgressLines
    from xpnet.train.random_restarts import Restarts, Spread, restarts
    from xpnet.train.trainer import Trainer

__all__ = [
    "METRICS",
    "Best",
    "CSVLog",
    "Callback",
    "Checkpoints",
    "Diagnostics",
    "History",
    "JSONLinesLog",
    "ParityReport",
    "ParityRow",
    "ProgressBar",
    "ProgressLines",
    "Restarts",
    "Spread",
    "TensorBoard",
    "Trainer",
    "accuracy",
    "diagnostics",
    "parity",
    "r2",
    "restarts",
]

_HOMES = {
    "Best": "xpnet.train.history",
    "CSVLog": "xpnet.train.logs",
    "Callback": "xpnet.train.callbacks",
    "Checkpoints": "xpnet.train.checkpoint_callback",
    "Diagnostics": "xpnet.train.diagnostics",
    "History": "xpnet.train.history",
    "JSONLinesLog": "xpnet.train.logs",
    "METRICS": "xpnet.train.metrics",
    "diagnostics": "xpnet.train.diagnostics",
    "ParityReport": "xpnet.train.agreement",
    "ParityRow": "xpnet.train.agreement",
    "ProgressBar": "xpnet.train.progress",
    "ProgressLines": "xpnet.train.progress",
    "Restarts": "xpnet.train.random_restarts",
    "Spread": "xpnet.train.random_restarts",
    "TensorBoard": "xpnet.train.logs",
    "Trainer": "xpnet.train.trainer",
    "accuracy": "xpnet.train.metrics",
    "parity": "xpnet.train.agreement",
    "r2": "xpnet.train.metrics",
    "restarts": "xpnet.train.random_restarts",
}

__getattr__, __dir__ = lazy.attributes(__name__, _HOMES)
