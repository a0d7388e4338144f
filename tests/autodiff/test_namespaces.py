"""The namespace over tracers behaves as the one it wraps; lifted, every array that it makes is traced."""

from __future__ import annotations

import operator
from typing import Any

import array_api_compat
import numpy as np
import pytest

from tests.support import host, widest
from xpnet.autodiff import Tracer, grad, jvp, namespace
from xpnet.backends import Backend, array_namespace
from xpnet.errors import RecordError


def _lifted(backend: Backend) -> Any:
    return namespace(backend.xp, lift=True)


def _make(backend: Backend, values: Any, dtype: str | None = None) -> tuple[Any, Any]:
    """Return the same array plain and lifted."""
    plain = backend.asarray(np.asarray(values), dtype=dtype)
    return plain, _lifted(backend).asarray(plain)


def _is_lifted(x: Any) -> bool:
    return type(x) is Tracer and x.trace.level == 0


# --- What is made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda xp: xp.zeros((2, 3)),
        lambda xp: xp.arange(4),
        lambda xp: xp.linspace(0, 1, 3),
        lambda xp: xp.eye(3),
        lambda xp: xp.full((2,), 7),
        lambda xp: xp.asarray([1, 2]),
        lambda xp: xp.zeros((2, 3)) > 0,
        lambda xp: xp.argmax(xp.zeros((2, 3))),
        lambda xp: xp.astype(xp.ones(3), xp.int32),
        lambda xp: xp.sum(xp.ones(3)),
        lambda xp: xp.ones((2, 2)) @ xp.ones((2, 2)),
        lambda xp: xp.ones((2, 2)).mT[0, ...],
        lambda xp: xp.linalg.matrix_rank(xp.eye(3)),
        lambda xp: xp.concat([xp.ones(2), xp.zeros(1)]),
    ],
)
def test_every_array_is_lifted_and_equal_to_the_plain_one(make: Any, backend: Backend) -> None:
    try:
        want = make(backend.xp)
    except Exception as error:
        pytest.skip(f"{backend.spec}: {error}")
    got = make(_lifted(backend))
    assert _is_lifted(got)
    assert got.dtype == want.dtype
    assert tuple(got.shape) == tuple(want.shape)
    np.testing.assert_array_equal(host(got.value), host(want))


def test_results_of_several_arrays_keep_their_kind(backend: Backend) -> None:
    xp = _lifted(backend)
    matrix = xp.asarray(_make(backend, np.eye(3) * 2.0, widest(backend))[0])
    if backend.spec == "array_api_strict:no_x64":
        pytest.skip(f"{backend.spec}: counts are int64, which the device lacks")
    found = xp.linalg.eigh(matrix)
    assert type(found) is type(backend.xp.linalg.eigh(matrix.value))
    assert all(_is_lifted(part) for part in found)
    np.testing.assert_allclose(host(found.eigenvalues.value), 2.0, rtol=1e-6)


def test_without_lifting_plain_arrays_stay_plain(backend: Backend) -> None:
    plain, lifted = _make(backend, [1.0, 2.0], widest(backend))
    xp = namespace(backend.xp)
    assert type(xp.exp(plain)) is type(plain)
    assert type(xp.exp(lifted)) is Tracer


def test_attributes_are_those_of_the_wrapped_namespace(backend: Backend) -> None:
    xp, base = _lifted(backend), backend.xp
    assert xp.float32 is base.float32
    assert xp.pi == base.pi
    assert xp.isdtype(xp.float32, "real floating")
    assert xp.finfo(xp.float32).eps == base.finfo(base.float32).eps
    assert "matmul" in dir(xp)
    assert xp.exp.__name__ == base.exp.__name__  # CuPy's is called cupy_exp
    with pytest.raises(AttributeError):
        _ = xp.no_such_function
    info = xp.__array_namespace_info__()
    assert set(info.dtypes(device=backend.device)) == set(
        base.__array_namespace_info__().dtypes(device=backend.device)
    )
    assert namespace(base, lift=True) is xp


def test_arrays_know_their_namespace_and_device(backend: Backend) -> None:
    plain, lifted = _make(backend, [1.0, 2.0], "float32")
    assert lifted.__array_namespace__() is _lifted(backend)
    assert array_namespace(lifted) is _lifted(backend)
    assert array_api_compat.array_namespace(lifted) is _lifted(backend)
    assert lifted.device == array_api_compat.device(plain)
    assert (lifted.ndim, lifted.size, tuple(lifted.shape), len(lifted)) == (1, 2, (2,), 2)
    moved = lifted.to_device(lifted.device)
    np.testing.assert_array_equal(host(moved.value), host(plain))


def test_moving_between_devices_has_a_derivative() -> None:
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    here, there = strict.Device("CPU_DEVICE"), strict.Device("device1")
    x = strict.asarray([1.0, 2.0], device=here)
    weights = strict.asarray([3.0, 4.0], device=there)

    def f(x: Any) -> Any:
        moved = x.to_device(there)
        assert moved.device == there
        return array_namespace(x).sum(moved * moved * weights)

    gradient = grad(f)(x)
    assert gradient.device == here
    np.testing.assert_array_equal(host(gradient), [6.0, 16.0])


# --- Promotion, scalars, errors --------------------------------------------------------------------------

OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "le", "gt", "ge", "eq", "ne"]
WHOLE_OPERATORS = ["and_", "or_", "xor", "lshift", "rshift"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("other", [2, 2.0, "array", "int"])
def test_operators_promote_as_the_library_does(name: str, other: Any, backend: Backend) -> None:
    f = getattr(operator, name)
    plain, lifted = _make(backend, [1.5, 2.5, 3.0], "float32")
    if other == "int":
        plain, lifted = _make(backend, [1, 2, 3], "int32")
    partner = _make(backend, [2, 2, 4], "int32" if other == "int" else widest(backend))
    for swapped in (False, True):
        left, right = (plain, partner[0]) if isinstance(other, str) else (plain, other)
        lifted_pair = (lifted, partner[1]) if isinstance(other, str) else (lifted, other)
        pair = (right, left) if swapped else (left, right)
        lifted_pair = lifted_pair[::-1] if swapped else lifted_pair
        try:
            want = f(*pair)
        except Exception as error:
            with pytest.raises(type(error)):
                f(*lifted_pair)
            continue
        got = f(*lifted_pair)
        assert _is_lifted(got)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(host(got.value), host(want))


@pytest.mark.parametrize("name", WHOLE_OPERATORS)
def test_operators_of_whole_numbers(name: str, backend: Backend) -> None:
    f, in_place = getattr(operator, name), getattr(operator, f"i{name.rstrip('_')}")
    plain, lifted = _make(backend, [1, 6, 3], "int32")
    other, lifted_other = _make(backend, [1, 2, 1], "int32")
    want = host(f(plain, other))
    for got in (f(lifted, lifted_other), f(lifted, other), f(1, lifted) * 0 + f(lifted, lifted_other)):
        np.testing.assert_array_equal(host(got.value), want)
    np.testing.assert_array_equal(host((~lifted).value), host(~plain))
    assert in_place(lifted, lifted_other) is lifted
    np.testing.assert_array_equal(host(lifted.value), want)
    np.testing.assert_array_equal(host(plain), [1, 6, 3])  # the array inside was copied, not written to


def test_numbers_and_truth_of_lifted_arrays(backend: Backend) -> None:
    _, number = _make(backend, 3, "int32")
    _, real = _make(backend, 2.5, "float32")
    assert int(number) == 3
    assert float(real) == 2.5
    assert complex(real) == 2.5
    assert [10, 11, 12, 13][number] == 13
    assert bool(number > 2)
    assert list(range(number)) == [0, 1, 2]


def test_errors_are_those_of_the_library(backend: Backend) -> None:
    plain, lifted = _make(backend, [1.0, 2.0, 3.0], "float32")
    other, lifted_other = _make(backend, [1.0, 2.0], "float32")
    with pytest.raises(Exception) as want:
        backend.xp.add(plain, other)
    with pytest.raises(type(want.value)):
        _lifted(backend).add(lifted, lifted_other)
    with pytest.raises(AttributeError, match=r"not 'mean'; call x.__array_namespace__\(\).mean\(x\)"):
        _ = lifted.mean
    with pytest.raises(AttributeError, match="no attribute 'no_such_thing'"):
        _ = lifted.no_such_thing


def test_exchange_with_other_libraries() -> None:
    x = namespace(array_api_compat.array_namespace(np.ones(1)), lift=True).asarray([1.0, 2.0])
    np.testing.assert_array_equal(np.asarray(x), [1.0, 2.0])
    np.testing.assert_array_equal(np.from_dlpack(x), [1.0, 2.0])

    def f(y: Any) -> Any:
        with pytest.raises(RecordError, match="cannot be handed to another library"):
            np.from_dlpack(y)
        with pytest.raises(RecordError, match="a NumPy function was applied"):
            np.asarray(y)
        return y @ y

    grad(f)(np.ones(2))


def test_numpy_functions_take_lifted_arrays() -> None:
    xp = namespace(array_api_compat.array_namespace(np.ones(1)), lift=True)
    x, plain = xp.asarray([0.0, 1.0]), np.asarray([1.0, 2.0])
    np.testing.assert_array_equal(np.exp(x).value, np.exp([0.0, 1.0]))
    assert _is_lifted(plain + x)
    name = plain
    name += x
    assert name is plain
    np.testing.assert_array_equal(plain, [1.0, 3.0])


def test_rows_of_an_array_in_a_loop(backend: Backend) -> None:
    plain, _ = _make(backend, [[1.0, 2.0], [3.0, 4.0]], widest(backend))

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.sum(xp.stack([row * i for i, row in enumerate(x)], axis=1))

    np.testing.assert_array_equal(host(grad(f)(plain)), [[0.0, 0.0], [1.0, 1.0]])
    with pytest.raises(TypeError, match="0-d"):
        len(_make(backend, 1.0, "float32")[1])


# --- Lifted arrays and transforms ------------------------------------------------------------------------


def test_arrays_made_inside_a_function_take_traced_values(backend: Backend) -> None:
    """The loop that fills an array, which traced arrays could not have if the array were plain."""

    def cubes(x: Any) -> Any:
        xp = array_namespace(x)
        out = xp.zeros_like(x)
        for i in range(3):
            out[i] = x[i] ** 3
        out += x
        return xp.sum(out)

    plain, _ = _make(backend, [1.0, 2.0, 3.0], widest(backend))
    gradient = grad(cubes)(plain)
    assert type(gradient) is type(plain)
    np.testing.assert_allclose(host(gradient), [4.0, 13.0, 28.0], rtol=1e-6)
    np.testing.assert_array_equal(host(plain), [1.0, 2.0, 3.0])


def test_masks_and_indices_meet_traced_arrays_on_either_side(backend: Backend) -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        mask = xp.astype(x > 0, x.dtype)
        return xp.sum(mask * x * x) + x[xp.argmin(x)] + xp.sum(xp.take(x, xp.argsort(x)[:2], axis=0))

    if backend.spec == "array_api_strict:no_x64":
        pytest.skip(f"{backend.spec}: argmin gives int64, which the device lacks")
    plain, _ = _make(backend, [-1.0, 2.0, 3.0], widest(backend))
    np.testing.assert_allclose(host(grad(f)(plain)), [2.0, 5.0, 6.0], rtol=1e-6)


def test_lifted_arguments_give_lifted_results_and_plain_ones_plain(backend: Backend) -> None:
    plain, lifted = _make(backend, [1.0, 2.0], widest(backend))

    def f(x: Any) -> Any:
        return array_namespace(x).sum(x * x)

    for x, check in ((plain, lambda y: type(y) is not Tracer), (lifted, _is_lifted)):
        y, dy = jvp(f, (x,), (x,))
        assert check(grad(f)(x))
        assert check(y)
        assert check(dy)
    assert float(host(grad(lambda x: array_namespace(x).sum(grad(f)(x)))(plain))[0]) == 2.0


def test_lists_of_traced_numbers_become_arrays(backend: Backend) -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.sum(xp.asarray([[x[0] * x[1], x[1]], [x[0], x[0] ** 2]]))

    plain, _ = _make(backend, [1.0, 2.0], widest(backend))
    np.testing.assert_allclose(host(grad(f)(plain)), [5.0, 2.0], rtol=1e-6)


def test_copies_of_traced_arrays_are_apart(backend: Backend) -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        copied, same = xp.asarray(x, copy=True), xp.asarray(x)
        copied[0] = 0.0
        same *= 2.0  # under both names: x is twice what it was
        return xp.sum(copied) + xp.sum(x)

    plain, _ = _make(backend, [1.0, 2.0], widest(backend))
    np.testing.assert_array_equal(host(grad(f)(plain)), [2.0, 3.0])


def test_in_place_operators_keep_shape_and_dtype(backend: Backend) -> None:
    plain, _ = _make(backend, [1.0, 2.0], "float32")
    whole, _ = _make(backend, [1, 2], "int32")

    def divide(x: Any) -> Any:
        y = x * 1
        y /= 4.0
        y **= 2
        assert y.dtype == x.dtype
        return array_namespace(x).sum(y)

    np.testing.assert_allclose(host(grad(divide)(plain)), [0.125, 0.25], rtol=1e-6)

    def into_whole(x: Any) -> Any:
        counts = array_namespace(x).asarray(whole)
        counts += x
        return array_namespace(x).sum(counts)

    with pytest.raises(TypeError, match=r"in-place add: expected a result of shape|cannot be type promoted"):
        grad(into_whole)(plain)

    def into_smaller(x: Any) -> Any:
        first = x[:1]
        first += x
        return array_namespace(x).sum(first)

    with pytest.raises(RecordError, match=r"expected a result of shape \(1,\)"):
        grad(into_smaller)(plain)
