"""Recorded programs of functions: passes over them, and lowerings that run them on a device."""

from xpnet.program.compiling import Compiled, compile
from xpnet.program.program import Operation, Program, Ref, Value
from xpnet.program.recording import record

__all__ = ["Compiled", "Operation", "Program", "Ref", "Value", "compile", "record"]
