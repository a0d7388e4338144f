"""The lowering for CuPy."""

from xpnet.program.lowerings.cupy.loop import GraphLoop, lower_loop
from xpnet.program.lowerings.cupy.lowering import CudaProgram, lower

__all__ = ["CudaProgram", "GraphLoop", "lower", "lower_loop"]
