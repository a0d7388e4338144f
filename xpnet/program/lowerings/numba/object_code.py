"""Object code of functions compiled by numba, and functions made of it.

numba puts all code that it compiles into one engine of LLVM, from which nothing is ever removed, and both
keep all types and constants that they have seen. Here numba only writes object code, bytes without a pickle
among them, in a context of LLVM that is freed when it is written; and each function gets an engine of its
own, whose memory goes with the function. So programs of ever new shapes take no more memory than those in
use.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from llvmlite import binding
from llvmlite.binding.newpassmanagers import FunctionPassManager, ModulePassManager, NewPassManager
from numba import _dynfunc, njit  # type: ignore[attr-defined]
from numba.core import config
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from xpnet.program.lowerings.numba import functions

__all__ = [
    "ObjectCode",
    "compiled",
    "functions_of",
    "made_for",
    "packed",
    "target",
    "unpacked",
    "without_wrapper",
]

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
# Settings of numba that change its code, beside the processor's name and features.
_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")


class ObjectCode(NamedTuple):
    """A compiled function.

    Attributes:
        name: of the function.
        symbol: what Python calls.
        environment: symbol of the pointer to what numba calls its environment.
        code: an object file.
    """

    name: str
    symbol: str
    environment: str
    code: bytes


def packed(codes: list[ObjectCode]) -> bytes:
    """Return compiled functions as one piece: a line of JSON, and the object files.

    >>> unpacked(packed([ObjectCode("f", "_f", "_e", b"code"), ObjectCode("g", "_g", "_e", b"")]))[0].code
    b'code'
    """
    head = [[*x[:3], len(x.code)] for x in codes]
    return json.dumps(head).encode() + b"\n" + b"".join(x.code for x in codes)


def unpacked(content: bytes) -> list[ObjectCode]:
    """Return the compiled functions in what `packed` made."""
    head, _, codes = content.partition(b"\n")
    found, start = [], 0
    for name, symbol, environment, size in json.loads(head):
        found.append(ObjectCode(name, symbol, environment, codes[start : start + size]))
        start += size
    return found


# --- numba as a writer of object code -------------------------------------------------------------------


class _Module(binding.ModuleRef):
    """A module of LLVM in a context of its own, into which modules of other contexts may be linked."""

    def link_in(self, other: Any, preserve: bool = False) -> None:
        if other._context is not self._context:
            other, preserve = binding.parse_bitcode(other.as_bitcode(), self._context), False
        super().link_in(other, preserve)

    def clone(self) -> Any:
        return _codegen().owned(super().clone())


class _Library(JITCodeLibrary):
    """Code of a function that goes into no engine, in the context of its target."""

    def __init__(self, codegen: _Codegen, name: str):
        super().__init__(codegen, name)
        self._final_module = codegen.module(str(self._final_module), self._final_module.name)

    def add_ir_module(self, ir_module: Any) -> None:
        module = _codegen().module(str(ir_module), ir_module.name)
        module.verify()
        self.add_llvm_module(module)

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    def _finalize_specific(self) -> None:
        pass

    def object_code(self) -> bytes:
        """Return the object file."""
        return self._codegen._tm.emit_object(self._final_module)


class _ModulePasses(ModulePassManager):
    """Passes whose memory is given back; in llvmlite, a base class that does nothing hides what does it."""

    _dispose = NewPassManager._dispose


class _FunctionPasses(FunctionPassManager):
    """Likewise."""

    _dispose = NewPassManager._dispose


class _Codegen(JITCPUCodegen):
    """Optimizes code as numba does, and loses no memory for each function that is optimized."""

    _library_class = _Library

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Make modules in a context of LLVM that is freed at the end, with all that it has interned."""
        self._context = binding.create_context()
        self._modules: list[Any] = []
        try:
            yield
        finally:
            for module in self._modules:  # before their context, whatever still refers to them
                module.close()
            self._modules.clear()
            self._context.close()

    def module(self, text: str, name: str) -> Any:
        """Return a module of such text."""
        made = self.owned(binding.parse_assembly(text, self._context))
        made.__class__, made.name = _Module, name
        return made

    def owned(self, module: Any) -> Any:
        """Have the module freed before its context."""
        self._modules.append(module)
        return module

    def _module_pass_manager(self, **options: Any) -> Any:
        passes, builder = super()._module_pass_manager(**options)
        passes.__class__ = _ModulePasses
        return passes, builder

    def _function_pass_manager(self, **options: Any) -> Any:
        passes, builder = super()._function_pass_manager(**options)
        passes.__class__ = _FunctionPasses
        return passes, builder

    @functools.cache  # noqa: B019
    def _pass_builder(self, **options: Any) -> Any:
        return super()._pass_builder(**options)

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        pass

    def machine(self) -> Any:
        """Return a description of the processor, as an engine wants one of its own."""
        options: dict[str, Any] = {"opt": config.OPT}  # type: ignore[attr-defined]
        self._customize_tm_options(options)
        return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(**options)


@contextlib.contextmanager
def target() -> Iterator[Any]:
    """Return what numba's dispatchers ask for: its target for processors, with another code generator.

    LLVM and numba keep types, constants and names of all code that they compile. Here they are kept in a
    context and in caches of this target, which are freed at the end. One thread at a time.
    """
    known = cpu_target.target_context
    known.refresh()
    own = {"_internal_codegen": _codegen(), "data_model_manager": known.data_model_manager.copy()}
    own |= {name: _with_own_cache(getattr(known, name)) for name in ("_casts", "_get_constants")}
    with _codegen().context():
        yield SimpleNamespace(
            options=cpu_target.options,
            typing_context=cpu_target.typing_context,
            target_context=known.subtarget(**own),
        )


def _with_own_cache(selector: Any) -> Any:
    selector = copy.copy(selector)
    selector._cache = dict(selector._cache)
    return selector


@functools.cache
def _codegen() -> _Codegen:
    return _Codegen("xpnet")


@functools.cache
def made_for() -> str:
    """Return what code depends on beside its source: the processor, and settings of numba."""
    settings = [(name, str(getattr(config, name, None))) for name in _SETTINGS]
    return repr((_codegen().magic_tuple(), settings))


def _dispatcher(function: Callable[..., Any], target: Any, **options: Any) -> Any:
    dispatcher = njit(**_OPTIONS, **options)(function)
    dispatcher.targetdescr = dispatcher._compiler.targetdescr = target
    dispatcher.typingctx, dispatcher.targetctx = target.typing_context, target.target_context
    return dispatcher


def without_wrapper(function: Callable[..., Any], target: Any) -> Any:
    """Return a function that compiled code can call, and Python cannot."""
    return _dispatcher(function, target, no_cpython_wrapper=True)


def compiled(name: str, function: Callable[..., Any], signature: Any, target: Any) -> ObjectCode:
    """Compile a function for a signature of numba's."""
    dispatcher = _dispatcher(function, target)
    dispatcher.compile(signature)
    (result,) = dispatcher.overloads.values()
    assert not result.environment.consts  # objects of Python that the code would need
    described = result.fndesc
    return ObjectCode(
        name, described.llvm_cpython_wrapper_name, described.env_name, result.library.object_code()
    )


# --- functions ------------------------------------------------------------------------------------------


def functions_of(codes: Iterable[ObjectCode]) -> dict[str, Callable[..., None]]:
    """Return the functions by their names; the code is trusted."""
    rtsys.initialize(cpu_target.target_context)  # symbols that the code looks for
    return {code.name: _function_of(code) for code in codes}


def _function_of(code: ObjectCode) -> Callable[..., None]:
    codegen = _codegen()
    module = binding.parse_assembly(str(codegen._create_empty_module(code.name)))
    engine = binding.create_mcjit_compiler(module, codegen.machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code.code))
    engine.finalize_object()
    environment = _dynfunc.Environment({})
    place = engine.get_global_value_address(code.environment)
    ctypes.c_void_p.from_address(place).value = id(environment)
    address = engine.get_function_address(code.symbol)
    return _dynfunc.make_function(functions, code.name, "", address, environment, (engine,))
