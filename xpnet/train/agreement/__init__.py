"""Comparison of devices, on built-in networks or on a user's own trainer."""

from xpnet.train.agreement.devices import parity
from xpnet.train.agreement.report import ParityReport, ParityRow

__all__ = ["ParityReport", "ParityRow", "parity"]
