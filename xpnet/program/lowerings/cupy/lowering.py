"""The lowering for CuPy: groups as generated kernels, matrix products by cuBLAS, in memory planned ahead.

Every group becomes one kernel in CUDA C++; so do gathers and copies. All kernels of a program are one
module, compiled at once, and kept by CuPy between processes. Functions that are neither, such as sorting,
are the recorded calls, between the kernels.

Work on the GPU goes through a `CupyDevice`: code written here needs neither CuPy nor a GPU until it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.backends import precision
from xpnet.backends.lacking import apart
from xpnet.program.lowerings.base import check_arrays
from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.copies import (
    copies_of,
    copy_kernel,
    gather_kernel,
    place_kernels,
    sum_kernel,
    table_kernel,
)
from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.lowerings.cupy.groups import write_group
from xpnet.program.lowerings.cupy.kernels import Kernel, module_source
from xpnet.program.lowerings.cupy.plan import is_written, plan_for_cuda
from xpnet.program.lowerings.cupy.products import Product, product
from xpnet.program.lowerings.gemm import is_product, is_stack
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.lowerings.views import can_gather, can_look_up, placed, summed_axis
from xpnet.program.passes.aliasing import View, c_order
from xpnet.program.passes.groups import Group
from xpnet.program.program import Operation, Program, Ref, read

__all__ = ["CudaProgram", "Runner", "Step", "default_device", "lower", "steps_of"]


@dataclass(frozen=True)
class Call:
    """A call of the array library, with the arrays that it takes."""

    operation: Operation
    views: dict[int, View]


Step = Kernel | Product | Call
_NAMED = 4  # operations that a kernel is named for where nothing says what they are a part of


def default_device() -> CupyDevice:
    """Return the current CUDA device."""
    return CupyDevice(precision.current())


def lower(
    program: Program, donated: dict[int, int] | None = None, device: CupyDevice | None = None
) -> CudaProgram:
    """Return the program as a callable (see `base.Lowering`), by default for the current device."""
    return CudaProgram(program, donated or {}, device or default_device())


class CudaProgram:
    """A program with memory of its own; for one thread and one stream at a time.

    Attributes:
        memory: where the values lie.
        source: the generated code.
        kernels: in the order in which they run.
        calls: names of the operations that the array library does.
    """

    def __init__(self, program: Program, donated: dict[int, int], device: CupyDevice):
        plan = plan_for_cuda(program, donated)
        self._device, self._aliasing, self.memory = device, plan.aliasing, plan.memory
        self.program = plan.program
        self._buffers = DeviceBuffers(plan, device)
        steps = steps_of(plan, self._buffers)
        for position, given in plan.aliasing.copied.items():
            copy = copy_kernel(self._buffers(Ref(given)), self._buffers(plan.program.outputs[position]))
            steps.append(copy.labelled("result_copy"))
        self._runner = Runner(steps, self._buffers, device)
        self.source, self.calls = self._runner.source, self._runner.calls
        self.kernels = [step for step in steps if isinstance(step, Kernel)]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        program, device = self.program, self._device
        arrays = dict(zip(program.inputs, map(device.contiguous, inputs), strict=True))
        check_arrays(arrays.values(), [program.values[n] for n in program.inputs])
        for n in self._aliasing.outputs - self._aliasing.donated.keys():
            arrays[n] = device.empty(program.values[n].shape, program.values[n].dtype_object)
        self._runner.run(arrays)
        copied = {p: Ref(n) for p, n in self._aliasing.copied.items()}
        outputs = (copied.get(i, x) for i, x in enumerate(program.outputs))
        return [self._runner.array(self._buffers(x), arrays) if type(x) is Ref else x for x in outputs]


def steps_of(plan: MemoryPlan, buffers: DeviceBuffers) -> list[Step]:
    """Return the kernels, products and calls of a program, in order."""
    steps: list[Step] = []
    made: Sequence[Step]
    values = plan.program.values
    for operation in plan.program.operations:
        empty = not any(values[n].size for n in operation.results)
        if empty or operation.results[0] in plan.aliasing.views:
            continue
        if isinstance(operation, Group):
            made = [write_group(operation, values, buffers)]
        elif is_product(operation, values) or is_stack(operation, values):
            made = _product(operation, buffers)
        elif can_gather(operation, values):
            made = [gather_kernel(operation, buffers)]
        elif can_look_up(operation, values):
            made = [table_kernel(operation, buffers)]
        elif (axis := summed_axis(operation, values)) is not None:
            made = [sum_kernel(operation, buffers, axis)]
        elif (places := placed(operation, values)) is not None:
            made = place_kernels(operation, buffers, places)
        elif is_written(operation, values):
            made = copies_of(operation, buffers)
        else:
            made = [Call(operation, {n: buffers(Ref(n)) for n in operation.reads()})]
        label = _label(operation)
        steps += [step.labelled(label) if isinstance(step, Kernel) else step for step in made]
    return steps


def _label(operation: Operation) -> str:
    """Return the label of an operation's kernels, which names their computation."""
    if operation.name in ("sum", "embedding", "embedding_transpose", "place"):
        return f"{operation.scope}_{operation.name}"
    if isinstance(operation, Group):
        names = [member.name for member in operation.members]
        return operation.scope or "_".join(
            ["compute", *names[:_NAMED], *(["more"] if names[_NAMED:] else [])]
        )
    return f"{operation.scope}_{'gather' if operation.name == 'take' else 'copy'}"


def _product(operation: Operation, buffers: DeviceBuffers) -> list[Step]:
    """Return a product; factors without neighbouring entries are copied first."""
    copies: list[Step] = []
    a, b = (buffers(x) for x in operation.operands)
    out = buffers(Ref(operation.results[0]))
    found = product(a, b, out)
    if found is None:
        whole_a, whole_b = (buffers.own(x.shape, x.dtype) for x in (a, b))
        copies = [copy_kernel(whole_a, a), copy_kernel(whole_b, b)]
        found = product(whole_a, whole_b, out)
    assert found is not None
    return [*copies, found]


class Runner:
    """Runs the kernels, products and calls of a program, any number of times.

    Attributes:
        source: of the kernels.
        calls: names of the operations that the array library does.
    """

    def __init__(
        self, steps: Sequence[Step], buffers: DeviceBuffers, device: CupyDevice, more: Sequence[Kernel] = ()
    ):
        self._device = device
        kernels = [step for step in steps if isinstance(step, Kernel)]
        self.source, names = module_source([*kernels, *more])
        loaded = device.load(self.source, list(names.values()))
        self._functions = dict(zip(names, loaded, strict=True))
        self._arrays = buffers.memory()
        self._addresses = {n: device.address(x) for n, x in self._arrays.items()}
        self.calls = [step.operation.name for step in steps if isinstance(step, Call)]
        self._steps = steps

    def run(self, arrays: dict[int, Any]) -> None:
        """Do all steps.

        Args:
            arrays: inputs and outputs, by number; what functions of the library return is added.
        """
        at = {**self._addresses, **{n: self._device.address(x) for n, x in arrays.items()}}
        for step in self._steps:
            if isinstance(step, Kernel):
                self.launch(step, [at[p.root] + p.offset for p in step.views])
            elif isinstance(step, Product):
                a, b, c = zip((at[p.root] + p.offset for p in step.views), step.leads, strict=True)
                self._device.gemm(step.dtype, step.turned, step.sizes, a, b, c, step.count, step.apart)
            else:
                made = self._called(step, arrays)
                at.update((n, self._device.address(x)) for n, x in made.items())
                arrays.update(made)

    def launch(self, kernel: Kernel, arguments: Sequence[int]) -> None:
        """Start one kernel."""
        self._device.launch(self._functions[kernel.text], kernel.blocks, kernel.threads, arguments)

    def address(self, view: View) -> int:
        """Return the address of an array in the program's memory."""
        return self._addresses[view.root] + view.offset

    def array(self, view: View, arrays: dict[int, Any]) -> Any:
        """Return the array of a view."""
        whole = arrays[view.root] if view.root in arrays else self._arrays[view.root]
        if tuple(whole.shape) == view.shape and not view.offset and view.strides == c_order(view.shape):
            return whole
        size = np.dtype(view.dtype).itemsize
        strides = tuple(s * size for s in view.strides)
        return self._device.view(whole, view.offset, view.shape, strides, view.dtype)

    def _called(self, step: Call, arrays: dict[int, Any]) -> dict[int, Any]:
        operation = step.operation
        given = {n: self.array(view, arrays) for n, view in step.views.items()}
        out = operation.function(*read(operation.operands, given), **operation.options)
        parts = out if operation.many else (out,)
        found = (apart(self._device.contiguous(x), *given.values()) for x in parts)
        return dict(zip(operation.results, found, strict=True))
