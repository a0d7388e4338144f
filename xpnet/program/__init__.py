"""Recorded programs: what a function came down to, made fast for the device at hand."""

from xpnet.program.compiling import Compiled, compile
from xpnet.program.program import Operation, Program, Ref, Value
from xpnet.program.recording import record

__all__ = ["Compiled", "Operation", "Program", "Ref", "Value", "compile", "record"]
