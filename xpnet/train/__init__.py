"""Training: the loop, what it measures, what it keeps, and what it shows."""

from xpnet.train.agreement import ParityReport, ParityRow, parity
from xpnet.train.callbacks import Callback
from xpnet.train.checkpoints import Checkpoints
from xpnet.train.diagnostics import Diagnostics
from xpnet.train.history import Best, History
from xpnet.train.logs import CSVLog, JSONLinesLog, TensorBoard
from xpnet.train.metrics import METRICS, accuracy, r2
from xpnet.train.progress import ProgressBar, ProgressLines
from xpnet.train.restarting import Restarts, Spread, restarts
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
    "parity",
    "r2",
    "restarts",
]
