"""The lowering for CuPy: groups as generated kernels, matrix products by cuBLAS, in memory planned ahead.

Every group becomes one kernel in CUDA C++; so do gathers and copies. All kernels of a program are one
module, compiled at once, and kept by CuPy between processes. Functions that are neither, such as sorting,
are the recorded calls, between the kernels.

What needs a GPU goes through a `CupyDevice`: what is written here needs neither CuPy nor a GPU until it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.backends import precision
from xpnet.backends.lacking import apart
from xpnet.errors import RecordError
from xpnet.program.lowerings.cupy.cuda import CupyDevice
from xpnet.program.lowerings.cupy.groups import write_group
from xpnet.program.lowerings.cupy.kernels import Kernel, module_source
from xpnet.program.lowerings.cupy.moves import copies_of, copy_kernel, gather_kernel, is_gather
from xpnet.program.lowerings.cupy.places import Place, Places, c_order
from xpnet.program.lowerings.cupy.plan import Plan
from xpnet.program.lowerings.cupy.products import Product, is_product, product
from xpnet.program.passes.groups import Group
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["CudaProgram", "Runner", "Step", "default_device", "lower", "refuse_others", "steps_of"]


@dataclass(frozen=True)
class Call:
    """An operation that the array library does, and the places of the arrays that it takes."""

    operation: Operation
    places: dict[int, Place]


Step = Kernel | Product | Call
_NAMED = 4  # operations that a kernel is named for where nothing says what they are a part of


def default_device() -> CupyDevice:
    """Return the current CUDA device."""
    return CupyDevice(precision.current())


def lower(
    program: Program, donated: dict[int, int] | None = None, device: CupyDevice | None = None
) -> CudaProgram:
    """Return the program as a callable from inputs to outputs.

    Args:
        program: simplified; its values on CuPy.
        donated: for some outputs (by position) the input (by position) whose memory they take over.
        device: where to run; None for the current CUDA device.
    """
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
        plan = Plan(program, donated)
        self._device, self._layout, self.memory = device, plan.layout, plan.memory
        self.program = plan.program
        self._places = Places(plan.on_host, plan.layout, plan.memory, device)
        steps = steps_of(plan, self._places)
        for position, given in plan.layout.copied.items():
            copy = copy_kernel(self._places(Ref(given)), self._places(plan.program.outputs[position]))
            steps.append(copy.labelled("result_copy"))
        self._runner = Runner(steps, self._places, device)
        self.source, self.calls = self._runner.source, self._runner.calls
        self.kernels = [step for step in steps if isinstance(step, Kernel)]

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        program, device = self.program, self._device
        arrays = dict(zip(program.inputs, map(device.contiguous, inputs), strict=True))
        refuse_others(arrays.values(), [program.values[n] for n in program.inputs])
        for n in self._layout.outputs - self._layout.donated.keys():
            arrays[n] = device.empty(program.values[n].shape, program.values[n].dtype_object)
        self._runner.run(arrays)
        copied = {p: Ref(n) for p, n in self._layout.copied.items()}
        outputs = (copied.get(i, x) for i, x in enumerate(program.outputs))
        return [self._runner.array(self._places(x), arrays) if type(x) is Ref else x for x in outputs]


def refuse_others(arrays: Any, values: Sequence[Value], rows: Sequence[tuple[int, ...]] = ()) -> None:
    """Refuse other arrays than the program's: kernels would not notice."""
    found = [(tuple(x.shape), x.dtype) for x in arrays]
    first = rows or [()] * len(values)
    expected = [((*row, *v.shape), v.dtype_object) for row, v in zip(first, values, strict=True)]
    if found != expected:
        raise RecordError(
            f"compiled program: expected arrays of shapes and dtypes {expected}, found {found}; record the "
            "function anew for other arrays"
        )


def steps_of(plan: Plan, places: Places) -> list[Step]:
    """Return what is to be done, in order."""
    steps: list[Step] = []
    made: Sequence[Step]
    values = plan.program.values
    for operation in plan.program.operations:
        empty = not any(values[n].size for n in operation.results)
        if empty or operation.results[0] in plan.layout.views:
            continue
        if isinstance(operation, Group):
            made = [write_group(operation, values, places)]
        elif is_product(operation, values):
            made = _product(operation, places)
        elif is_gather(operation, values):
            made = [gather_kernel(operation, places)]
        elif plan.is_written(operation):
            made = copies_of(operation, places)
        else:
            made = [Call(operation, {n: places(Ref(n)) for n in operation.reads()})]
        label = _label(operation)
        steps += [step.labelled(label) if isinstance(step, Kernel) else step for step in made]
    return steps


def _label(operation: Operation) -> str:
    """Return what the kernels of an operation compute."""
    if isinstance(operation, Group):
        names = [member.name for member in operation.members]
        return operation.scope or "_".join(
            ["compute", *names[:_NAMED], *(["more"] if names[_NAMED:] else [])]
        )
    return f"{operation.scope}_{'gather' if operation.name == 'take' else 'copy'}"


def _product(operation: Operation, places: Places) -> list[Step]:
    """Return a product; factors without neighbouring entries are copied first."""
    copies: list[Step] = []
    a, b = (places(x) for x in operation.operands)
    out = places(Ref(operation.results[0]))
    found = product(a, b, out)
    if found is None:
        whole_a, whole_b = (places.own(x.shape, x.dtype) for x in (a, b))
        copies = [copy_kernel(whole_a, a), copy_kernel(whole_b, b)]
        found = product(whole_a, whole_b, out)
    assert found is not None
    return [*copies, found]


class Runner:
    """Does the steps of a program, again and again.

    Attributes:
        source: of the kernels.
        calls: names of the operations that the array library does.
    """

    def __init__(
        self, steps: Sequence[Step], places: Places, device: CupyDevice, more: Sequence[Kernel] = ()
    ):
        self._device = device
        kernels = [step for step in steps if isinstance(step, Kernel)]
        self.source, names = module_source([*kernels, *more])
        loaded = device.load(self.source, list(names.values()))
        self._functions = dict(zip(names, loaded, strict=True))
        self._arrays = places.memory()
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
                self.launch(step, [at[p.root] + p.offset for p in step.places])
            elif isinstance(step, Product):
                a, b, c = zip((at[p.root] + p.offset for p in step.places), step.leads, strict=True)
                self._device.gemm(step.dtype, step.turned, step.sizes, a, b, c)
            else:
                made = self._called(step, arrays)
                at.update((n, self._device.address(x)) for n, x in made.items())
                arrays.update(made)

    def launch(self, kernel: Kernel, arguments: Sequence[int]) -> None:
        """Start one kernel."""
        self._device.launch(self._functions[kernel.text], kernel.blocks, kernel.threads, arguments)

    def address(self, place: Place) -> int:
        """Return the address of a place in the program's memory."""
        return self._addresses[place.root] + place.offset

    def array(self, place: Place, arrays: dict[int, Any]) -> Any:
        """Return the array at a place."""
        whole = arrays[place.root] if place.root in arrays else self._arrays[place.root]
        if tuple(whole.shape) == place.shape and not place.offset and place.strides == c_order(place.shape):
            return whole
        size = np.dtype(place.dtype).itemsize
        strides = tuple(s * size for s in place.strides)
        return self._device.view(whole, place.offset, place.shape, strides, place.dtype)

    def _called(self, step: Call, arrays: dict[int, Any]) -> dict[int, Any]:
        operation = step.operation
        given = {n: self.array(place, arrays) for n, place in step.places.items()}
        out = operation.function(*_read(operation.operands, given), **operation.options)
        parts = out if operation.many else (out,)
        found = (apart(self._device.contiguous(x), *given.values()) for x in parts)
        return dict(zip(operation.results, found, strict=True))


def _read(tree: Any, values: dict[int, Any]) -> Any:
    if type(tree) is Ref:
        return values[tree.number]
    return type(tree)(_read(item, values) for item in tree) if type(tree) in (list, tuple) else tree
