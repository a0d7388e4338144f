"""The lowering for NumPy: generated straight-line code that writes into memory planned ahead."""

from xpnet.program.lowerings.numpy.lowering import NumpyProgram, lower

__all__ = ["NumpyProgram", "lower"]
