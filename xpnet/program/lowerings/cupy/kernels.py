"""Kernels: their text, their arguments, and the code that all of them share."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from xpnet.program.lowerings import group_code
from xpnet.program.lowerings.cupy.elements import TYPES
from xpnet.program.passes.aliasing import View

__all__ = ["PRELUDE", "Arguments", "Kernel", "Walk", "blocks_for", "indented", "module_source"]

_NARROW = 2**31  # numbers of entries below this are counted in 32 bits
_LONGEST = 80  # letters of a name
_MOST_BLOCKS = 1024  # the same on every GPU, so that sums are added up in the same order

PRELUDE = """\
struct Complex64 { float real, imaginary; };  // which kernels only copy
struct Complex128 { double real, imaginary; };
struct Sum {
    template <class T> static __device__ T join(T a, T b) { return a + b; }
};
struct Largest {  // NaN wins
    template <class T> static __device__ T join(T a, T b) { return a > b || a != a ? a : b; }
};
struct Smallest {
    template <class T> static __device__ T join(T a, T b) { return a < b || a != a ? a : b; }
};

// Joins what `width` neighbouring threads of a warp have, in the same order for each of them.
template <class F, int width, class T> __device__ T of_lanes(T x) {
    for (int k = width / 2; k > 0; k /= 2) {
        const T other = __shfl_xor_sync(0xffffffffu, x, k);
        x = threadIdx.x & k ? F::join(other, x) : F::join(x, other);
    }
    return x;
}

// Joins what the threads of a block have; each of them gets the result.
template <class F, int threads, class T> __device__ T of_block(T x) {
    __shared__ T shared[threads / 32];
    x = of_lanes<F, 32>(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int k = 1; k < threads / 32; ++k) x = F::join(x, shared[k]);
    return x;
}

// Joins what threads have whose numbers differ by multiples of `width`; the first of them get the results.
template <class F, int threads, int width, class T> __device__ T of_column(T x) {
    __shared__ T shared[threads];
    __syncthreads();
    shared[threadIdx.x] = x;
    for (int k = threads / 2; k >= width; k /= 2) {
        __syncthreads();
        if (threadIdx.x < k) shared[threadIdx.x] = F::join(shared[threadIdx.x], shared[threadIdx.x + k]);
    }
    return shared[threadIdx.x];
}

// True in the last of `blocks` blocks that come here: it sees what the others have written. The ticket is
// zero again after that.
inline __device__ bool is_last(unsigned int* ticket, unsigned int blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicInc(ticket, blocks - 1) == blocks - 1;
    __syncthreads();
    __threadfence();
    return last;
}

template <class T> __device__ T log_add_exp(T a, T b) {
    if (a == b) return a + (T)0.693147180559945309417232121458;
    const T less = a - b;
    return less > 0 ? a + log1p(exp(-less)) : less <= 0 ? b + log1p(exp(less)) : less;
}
"""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel and its arguments.

    Attributes:
        text: of the function, whose name is ``NAME``. Equal texts are compiled once.
        views: of its arguments.
        blocks: number of blocks.
        threads: of a block.
        label: its computation, such as ``"relu_backward"``: profilers show kernels by their names.
    """

    text: str
    views: tuple[View, ...]
    blocks: int
    threads: int
    label: str = ""

    def labelled(self, label: str) -> Kernel:
        """Return the kernel with a label."""
        return replace(self, label=label)


def module_source(kernels: Iterable[Kernel]) -> tuple[str, dict[str, str]]:
    """Return the source of one module with all kernels, and the names of functions by their text.

    What several kernels share is named for the most of them; others of the same name get a number.
    """
    labels: dict[str, Counter[str]] = {}
    for kernel in kernels:
        labels.setdefault(kernel.text, Counter())[kernel.label] += 1
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text, found in labels.items():
        name = _identifier(found.most_common(1)[0][0])
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        names[text] = next(free for free in itertools.chain([name], numbered) if free not in taken)
        taken.add(names[text])
    return "\n".join([PRELUDE, *(text.replace("NAME", name) for text, name in names.items())]), names


def _identifier(label: str) -> str:
    """Return a name of at least two words, as functions of CUDA have one."""
    name = re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_")[:_LONGEST]
    return name if "_" in name else f"{name}_kernel" if name else "unnamed_kernel"


def indented(lines: Iterable[str]) -> list[str]:
    """Return the lines further to the right."""
    return ["    " + line for line in lines]


def blocks_for(threads_in_all: int, threads: int) -> int:
    """Return how many blocks there are, each of whose threads does more if that were too many."""
    return max(1, min(-(-threads_in_all // threads), _MOST_BLOCKS))


class Arguments:
    """The arguments of a kernel: a pointer to each view, typed.

    Where an address is in a table, the table is the argument, and the kernel reads it there.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[int, int, str], str] = {}
        self._views: list[View] = []
        self._read: list[str] = []
        self._reach = 0

    def name(self, view: View) -> str:
        """Return the name of the pointer to a view's first entry."""
        key = view.root, view.offset, view.dtype
        if key not in self._names:
            if view.listed is None:
                self._names[key] = f"a{len(self._views)}"
                self._views.append(view)
            else:
                table, slot = view.listed
                kind, read = TYPES[view.dtype], f"{self.name(table)}[{slot}]"
                self._names[key] = name = f"p{len(self._read)}"
                self._read.append(f"{kind}* const {name} = ({kind}*)({read} + {view.offset});")
        self._reach = max(self._reach, view.reach)
        return self._names[key]

    def kernel(self, lines: Sequence[str], blocks: int, threads: int, entries: int = 1) -> Kernel:
        """Return the kernel of these lines; ``entries`` is the number of entries in its loop."""
        given = ", ".join(f"{TYPES[view.dtype]}* a{i}" for i, view in enumerate(self._views))
        index = "int" if max(entries + blocks * threads, self._reach) < _NARROW else "long long"
        body = [f'extern "C" __global__ void __launch_bounds__({threads}) NAME({given}) {{',
                f"    typedef {index} index;", *indented([*self._read, *lines]), "}"]  # fmt: skip
        return Kernel("\n".join(body) + "\n", tuple(self._views), blocks, threads)


class Walk(group_code.Walk):
    """Loop indices over a shape, in C++."""

    def indices(self, linear: str, first: int, last: int) -> list[str]:
        """Return lines that take a number in C order apart into the indices from ``first`` to ``last``."""
        lines = []
        for k in range(last - 1, first - 1, -1):
            whole = k == first
            lines.append(f"const index i{k} = {linear if whole else f'{linear} % {self.sizes[k]}'};")
            linear = f"({linear} / {self.sizes[k]})"
        return lines

    def entry(self, pointer: str, strides: tuple[int, ...], extra: str = "") -> str:
        """Return the text of an entry, reached with a stride for each dimension."""
        terms = [*([extra] if extra else []), *self.terms(strides)]
        return f"{pointer}[{' + '.join(terms) or '0'}]"
