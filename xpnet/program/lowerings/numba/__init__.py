"""The lowering for NumPy arrays with numba: groups as compiled loops, products by a BLAS."""

from xpnet.program.lowerings.numba.lowering import CompiledLoop, NumbaProgram, lower, lower_loop

__all__ = ["CompiledLoop", "NumbaProgram", "lower", "lower_loop"]
