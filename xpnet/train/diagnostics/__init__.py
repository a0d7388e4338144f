"""What goes on inside a network while it is trained: measured, judged, and tried out around it."""

from xpnet.train.diagnostics.callback import Diagnostics
from xpnet.train.diagnostics.verdicts import Verdict

__all__ = ["Diagnostics", "Verdict"]
