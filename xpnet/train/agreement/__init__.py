"""Whether devices compute the same: built-in networks or a trainer of the user's own, compared."""

from xpnet.train.agreement.devices import parity
from xpnet.train.agreement.report import ParityReport, ParityRow

__all__ = ["ParityReport", "ParityRow", "parity"]
