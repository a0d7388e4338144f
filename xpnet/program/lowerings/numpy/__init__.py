"""The lowering for NumPy: generated straight-line code that writes into memory planned ahead."""

from xpnet.program.lowerings.numpy.lowering import NumpyLoop, NumpyProgram, lower, lower_loop

__all__ = ["NumpyLoop", "NumpyProgram", "lower", "lower_loop"]
