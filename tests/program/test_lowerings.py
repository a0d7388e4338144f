"""Every lowering gives what the functions themselves give, and leaves alone what it was not given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.loss_cases import CASES as LOSS_CASES
from tests.nn.layer_cases import CASES as LAYER_CASES
from tests.optim.optimizer_cases import TABLE as OPTIMIZERS
from tests.program.cases import KINDS, joined, transforms
from tests.program.cuda import for_cupy, from_device, to_device
from tests.program.lowerings import (
    TABLE,
    InThreads,
    array_for,
    assert_as_uncompiled,
    assert_same,
    compared_lowerings,
    every_lowering,
    host_lowerings,
    lowered,
    slow_lowerings,
)
from tests.program.steps import FUNCTIONS, training_step
from xpnet import autodiff, losses, nn, optim
from xpnet.backends import array_namespace
from xpnet.containers import leaves
from xpnet.errors import RecordError
from xpnet.program import record
from xpnet.program.lowerings import generic
from xpnet.program.lowerings.base import LOWERINGS

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


# --- What is in the tables --------------------------------------------------------------------------------


def test_every_lowering_is_in_the_table() -> None:
    assert set(TABLE) == set(LOWERINGS)


def test_everything_registered_is_in_the_tables() -> None:
    own = {name for name, kind in nn.LAYERS.items() if kind.__module__.startswith("xpnet.")}
    assert {case.name for case in LAYER_CASES} == own
    assert {case.name for case in LOSS_CASES} == set(losses.LOSSES)
    assert {type(row[0]) for row in OPTIMIZERS} == set(optim.OPTIMIZERS.values())
    no_transforms = {"Graph", "Node", "Tracer", "check_grads", "graph", "implicit", "namespace", "special"}
    no_transforms |= {"Colouring", "SparseMatrix", "colouring", "hessian_sparsity", "jacobian_sparsity"}
    names = {name.partition(" ")[0] for name in transforms("float32")}
    assert names == set(autodiff.__all__) - no_transforms


# --- The same results -------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
def test_programs_are_what_was_recorded(kind: str, dtype: str) -> None:
    f, args, names = joined(KINDS[kind](dtype))
    program = record(f)(*args)
    for name, one, other in zip(names, generic.lower(program)(args), f(*args), strict=True):
        try:
            assert_same(one, other)
        except AssertionError as error:
            raise AssertionError(name) from error


@compared_lowerings
@every_dtype
@pytest.mark.parametrize("kind", KINDS)
def test_layers_losses_optimizers_transforms_and_rules(kind: str, dtype: str, lower: str) -> None:
    """Where compiling takes long, some of the cases, and fewer in threads."""
    turn, every = (dtype == "float64") + 2 * isinstance(lower, InThreads), TABLE[lower].every
    if isinstance(lower, InThreads):
        every *= 4
    if kind == "rules" and TABLE[lower].compiles:  # there are hundreds
        every *= 15
    found = enumerate(KINDS[kind](dtype).items())
    cases = {name: case for i, (name, case) in found if i // 3 % every == turn % every}
    f, args, names = joined(cases)
    assert_as_uncompiled(record(f)(*args), args, lower, names=names)


@pytest.mark.full
@pytest.mark.backends("cupy")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rules"])
def test_programs_recorded_on_cupy(kind: str) -> None:
    """They are the same, line by line, as those that are recorded on NumPy and have CuPy's functions then."""
    f, args, _ = joined(KINDS[kind]("float32"))
    assert str(record(f)(*map(to_device, args))) == str(for_cupy(record(f)(*args)))


@pytest.mark.full
@pytest.mark.backends("cupy")
@every_dtype
def test_all_rules_on_cupy(dtype: str) -> None:
    f, args, names = joined(KINDS["rules"](dtype))
    assert_as_uncompiled(record(f)(*args), args, "cupy", names=names)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    f, args = FUNCTIONS[name]
    program = record(f)(*args)
    assert_as_uncompiled(program, args, "numpy")
    for one, other in zip(generic.lower(program)(args), leaves(f(*args)), strict=True):
        assert_same(one, other)


@slow_lowerings
def test_functions_in_one_program(lower: str) -> None:
    f, args, names = joined(FUNCTIONS)
    assert_as_uncompiled(record(f)(*args), args, lower, names=names)


@every_lowering
def test_the_first_call_gives_the_bits_of_all_others(lower: str) -> None:
    def softmax(x: Any) -> Any:
        xp = x.__array_namespace__()
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return e / xp.sum(e, axis=-1, keepdims=True)

    compiled = xpnet.compile(softmax, lower=lower)
    x = array_for(np.random.default_rng(0).normal(size=(40, 33)), lower)
    first, later = compiled(x), compiled(x)
    assert not compiled.reason
    assert_same(first, later)


@every_lowering
def test_nan_infinities_and_signed_zeros_stay(lower: str) -> None:
    x = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, 1e-320, -3.5])

    def f(x: Any) -> Any:
        xp = x.__array_namespace__()
        return [
            xp.maximum(x, 0.0),
            xp.minimum(x, -0.0),
            x * 0.0,
            x / x,
            xp.sqrt(x),
            xp.where(x > 0, x, -x),
            xp.sign(x),
            xp.sum(xp.reshape(x[4:5] * 1.0, (1, 1)), axis=0),
            xp.sum(x[3:]),
        ]

    with np.errstate(all="ignore"):
        assert_as_uncompiled(record(f)(x), [x], lower, ulps=0)


# --- Donated arguments ------------------------------------------------------------------------------------


@every_lowering
def test_donated_memory_is_used_and_the_rest_left_alone(lower: str) -> None:
    step, args = training_step(optim.Adam())
    program, donated = record(step)(*args), {0: 0, 1: 1, 2: 2}
    assert_as_uncompiled(program, args, lower, donated)
    if not LOWERINGS[lower].overwrites:
        return
    mine = [array_for(x, lower) for x in args]
    results = lowered(program, lower, donated)(mine)
    for i in range(3):
        assert results[i] is mine[i]
        assert not np.array_equal(from_device(results[i]), args[i])


@every_lowering
def test_an_argument_that_is_a_result_is_not_donated(lower: str) -> None:
    program = record(lambda x: [x * 2, x])(np.ones(3))
    doubled, same = map(from_device, lowered(program, lower, {0: 0})([array_for(np.ones(3), lower)]))
    np.testing.assert_array_equal(doubled, 2.0)
    np.testing.assert_array_equal(same, 1.0)


_READERS: dict[str, Callable[..., Any]] = {
    "selected": lambda xp, x, i: xp.where(x > 1, x, xp.flip(x * 10)),
    "gathered": lambda xp, x, i: xp.take(x, i, axis=0),
    "joined": lambda xp, x, i: xp.concat([x[1:], x[:1]]),
    "turned": lambda xp, x, i: x + xp.flip(x),
    "centred": lambda xp, x, i: x - xp.sum(x, axis=0),
}


@compared_lowerings
def test_results_are_not_written_over_what_is_still_to_be_read(lower: str) -> None:
    args = [np.asarray([0.0, 2.0, 3.0]), np.asarray([2, 0, 0])]
    cases = {name: (lambda x, i, f=f: f(x.__array_namespace__(), x, i), args) for name, f in _READERS.items()}
    f, args, names = joined(cases)
    assert_as_uncompiled(record(f)(*args), args, lower, {k: 2 * k for k in range(len(cases))}, names=names)


# --- What has no fixed shape ------------------------------------------------------------------------------


_EXPONENTS = [-3, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 2.0, -1.0, 1.0, -2.0, np.nan, np.inf, 1j, 2 + 0j]


def _powers(*arrays: Any) -> list[Any]:
    """Return all powers that the array library has, by the operator and by the function."""
    made = []
    for x in arrays:
        for by in _EXPONENTS:
            whole = array_namespace(x).isdtype(x.dtype, "integral")
            if not (whole and type(by) is int and by < 0):  # NumPy refuses them
                made += [x**by, array_namespace(x).pow(x, by)]
    return made


@host_lowerings
@pytest.mark.parametrize(
    "dtype", ["int8", "int32", "int64", "uint8", "uint64", "float32", "float64", "complex64", "complex128"]
)
def test_powers(lower: str, dtype: str) -> None:
    """Of whole numbers, too: to a floating-point power they are floating-point numbers."""
    x = np.asarray([0, 1, 2, 3, 7, 100, 2**40 if np.dtype(dtype).itemsize == 8 else 5]).astype(dtype)
    if np.dtype(dtype).kind in "fc":
        x[:3] = [-0.0, np.inf, np.nan]
    with np.errstate(all="ignore"):
        assert_as_uncompiled(xpnet.record(_powers)(x), [x], lower)


def _parts(z: Any, x: Any) -> list[Any]:
    xp = array_namespace(z)
    turned, some = xp.matrix_transpose(z), z[1:, ::-1]
    real, imag = xp.real(z), xp.imag(some)
    return [
        *(xp.abs(real), xp.isnan(imag), real * x + 1.0, xp.real(turned) * 2.0, imag * 3.0, real),
        *(
            xp.real(z * 2.0) + x,
            xp.sum(xp.imag(z) ** 2),
            xp.conj(z),
            xp.real(x) + x,
            xp.abs(xp.imag(xp.exp(z))),
        ),
    ]


@host_lowerings
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_parts_of_complex_arrays(lower: str, dtype: str) -> None:
    """Looks at an argument's memory whose entries are of another dtype."""
    z = (np.arange(12.0).reshape(3, 4) + 1j * np.arange(12.0, 24.0).reshape(3, 4)).astype(dtype)
    inputs = [z, np.real(z).copy()]
    assert_as_uncompiled(xpnet.record(_parts)(*inputs), inputs, lower)


@pytest.mark.parametrize(
    ("name", "function"),
    {
        "an index by a recorded mask": lambda xp, x: x[x > 0],
        "nonzero": lambda xp, x: xp.nonzero(x)[0],
        "unique_values": lambda xp, x: xp.unique_values(x),
        "repeat": lambda xp, x: xp.repeat(x, xp.astype(xp.abs(x), xp.int64)),
    }.items(),
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_shapes_that_depend_on_values_are_refused(name: str, function: Any) -> None:
    message = rf"{name} has a result whose shape depends on values .*\(test_lowerings.py:\d+\)"
    with pytest.raises(RecordError, match=message):
        record(lambda x: function(x.__array_namespace__(), x))(np.asarray([1.0, -1.0]))
