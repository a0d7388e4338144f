"""Recorded programs: what a function came down to, made fast for the device at hand."""

from xpnet.program.program import Operation, Program, Ref, Value
from xpnet.program.recording import record

__all__ = ["Operation", "Program", "Ref", "Value", "record"]
