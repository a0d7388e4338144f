"""Tell the stand-in for the runtime which arrays there are in CuPy's memory pool."""

from __future__ import annotations

import ctypes
import threading
from typing import Any


def watch(memory_hook: Any) -> None:
    """Report the arrays of this thread and of those that are started from now on, by a hook of CuPy's."""
    library = ctypes.CDLL("libcuda.so.1")
    made, freed = library.cuda_on_cpu_array_made, library.cuda_on_cpu_array_freed
    made.argtypes, freed.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t), (ctypes.c_void_p,)

    class Arrays(memory_hook.MemoryHook):
        name = "cuda_on_cpu"

        def malloc_postprocess(self, *, size: int, mem_size: int, mem_ptr: int, **_: Any) -> None:
            if mem_ptr:
                made(mem_ptr, size, mem_size)

        def free_preprocess(self, *, mem_ptr: int, **_: Any) -> None:
            freed(mem_ptr)

    hook = Arrays()
    hook.__enter__()
    start = threading.Thread._bootstrap_inner  # CuPy keeps hooks for each thread

    def started(self: threading.Thread) -> None:
        hook.__enter__()
        start(self)

    threading.Thread._bootstrap_inner = started
