"""Shapes, joining, repetition, creation inside transforms: values as the library's, empty arrays, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import Tracer, grad, jvp, vjp
from xpnet.backends import Backend
from xpnet.containers import leaves


def _space(x: Any) -> Any:
    return x.__array_namespace__()


# --- Against the library's own results -------------------------------------------------------------------

# what functions of (4, 3), (1, 3), (3,) and (2,) give, traced and plain
SAME: dict[str, Callable[..., Any]] = {
    "broadcast_arrays": lambda xp, a, b, c, d: xp.broadcast_arrays(a, b, c),
    "broadcast_arrays-one": lambda xp, a, b, c, d: xp.broadcast_arrays(a),
    "meshgrid": lambda xp, a, b, c, d: xp.meshgrid(c, d),
    "meshgrid-ij": lambda xp, a, b, c, d: xp.meshgrid(c, d, c, indexing="ij"),
    "meshgrid-xy": lambda xp, a, b, c, d: xp.meshgrid(c, d, c, indexing="xy"),
    "meshgrid-one": lambda xp, a, b, c, d: xp.meshgrid(c),
    "diff": lambda xp, a, b, c, d: xp.diff(a),
    "diff-n": lambda xp, a, b, c, d: xp.diff(a, axis=0, n=2),
    "diff-0": lambda xp, a, b, c, d: xp.diff(a, n=0),
    "diff-too-often": lambda xp, a, b, c, d: xp.diff(a, n=3),
    "diff-all": lambda xp, a, b, c, d: xp.diff(b, axis=0),
    "diff-ends": lambda xp, a, b, c, d: xp.diff(a, axis=0, prepend=b, append=b * 2),
    "diff-ends-of-vector": lambda xp, a, b, c, d: xp.diff(c, n=2, prepend=d, append=d),
    "unstack": lambda xp, a, b, c, d: xp.unstack(a, axis=1),
    "concat": lambda xp, a, b, c, d: xp.concat((a, b), axis=-2),
    "concat-flat": lambda xp, a, b, c, d: xp.concat([a, b, d], axis=None),
    "stack": lambda xp, a, b, c, d: xp.stack([a, a * 2], axis=-2),
    "repeat": lambda xp, a, b, c, d: xp.repeat(a, 2),
    "tile": lambda xp, a, b, c, d: xp.tile(c, (2, 2)),
    "tril": lambda xp, a, b, c, d: xp.tril(a, k=-1),
    "triu": lambda xp, a, b, c, d: xp.triu(a, k=1),
    "roll": lambda xp, a, b, c, d: xp.roll(a, (1, -1), axis=(0, 1)),
    "reshape": lambda xp, a, b, c, d: xp.reshape(a, (2, -1), copy=True),
}


@pytest.mark.parametrize("name", SAME)
def test_values_shapes_and_number_of_results_are_the_librarys(name: str, backend: Backend) -> None:
    args = [backend.asarray(draw(i, s), dtype="float32") for i, s in enumerate([(4, 3), (1, 3), (3,), (2,)])]
    want = leaves(list(_listed(SAME[name](backend.xp, *args))))

    def traced(*args: Any) -> Any:
        return list(_listed(SAME[name](_space(args[0]), *args)))

    got = leaves(vjp(traced, *args)[0])
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(host(one), host(other))


def _listed(out: Any) -> Any:
    return out if isinstance(out, (list, tuple)) else [out]


# --- Empty arrays ----------------------------------------------------------------------------------------

EMPTY: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "reshape": (lambda xp, x: xp.reshape(x, (0, 5)), (2, 0), (0, 5)),
    "broadcast_to": (lambda xp, x: xp.broadcast_to(x, (0, 3)), (1, 3), (0, 3)),
    "broadcast_arrays": (lambda xp, x: xp.broadcast_arrays(x, xp.zeros_like(x[:0, :]))[0], (1, 3), (0, 3)),
    "concat": (lambda xp, x: xp.concat([x, x, x], axis=0), (0, 3), (0, 3)),
    "concat-flat": (lambda xp, x: xp.concat([x, xp.ones_like(x)], axis=None), (0, 3), (0,)),
    "stack": (lambda xp, x: xp.stack([x, x]), (0, 3), (2, 0, 3)),
    "unstack": (lambda xp, x: xp.unstack(x)[1], (2, 0), (0,)),
    "unstack-nothing": (lambda xp, x: xp.reshape(x * len(xp.unstack(x)), (3, 0)), (0, 3), (3, 0)),
    "repeat": (lambda xp, x: xp.repeat(x, 2, axis=1), (2, 0), (2, 0)),
    "repeat-no-times": (lambda xp, x: xp.repeat(x, 0), (2, 3), (0,)),
    "tile": (lambda xp, x: xp.tile(x, (2, 2)), (0, 3), (0, 6)),
    "tile-no-times": (lambda xp, x: xp.tile(x, (0, 1)), (2, 3), (0, 3)),
    "flip": (lambda xp, x: xp.flip(x), (0, 3), (0, 3)),
    "roll": (lambda xp, x: xp.roll(x, 1), (0, 3), (0, 3)),
    "moveaxis": (lambda xp, x: xp.moveaxis(x, 0, 1), (0, 3), (3, 0)),
    "permute_dims": (lambda xp, x: xp.permute_dims(x, (1, 0)), (0, 3), (3, 0)),
    "expand_dims": (lambda xp, x: xp.expand_dims(x, axis=0), (0,), (1, 0)),
    "squeeze": (lambda xp, x: xp.squeeze(x, axis=1), (0, 1), (0,)),
    "tril": (lambda xp, x: xp.tril(x), (0, 3), (0, 3)),
    "diff": (lambda xp, x: xp.diff(x), (2, 1), (2, 0)),
    "diff-nothing": (lambda xp, x: xp.diff(x), (2, 0), (2, 0)),
    "meshgrid": (lambda xp, x: xp.meshgrid(x, xp.ones_like(x))[0], (0,), (0, 0)),
    "full": (lambda xp, x: xp.full((0, 2), x), (), (0, 2)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_arrays(name: str, backend: Backend) -> None:
    f, shape, out_shape = EMPTY[name]
    x = backend.asarray(draw(1, shape), dtype=widest(backend))
    y, pullback = vjp(lambda x: f(_space(x), x), x)
    assert tuple(y.shape) == out_shape
    pulled = pullback(y)[0]
    assert pulled.dtype == x.dtype
    np.testing.assert_array_equal(host(pulled), np.zeros(shape))
    assert tuple(jvp(lambda x: f(_space(x), x), (x,), (x,))[1].shape) == out_shape


# --- Dtypes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("name", ["concat", "stack"])
def test_pieces_of_different_dtypes(name: str, axis: int | None, backend: Backend) -> None:
    """Each piece gets a cotangent of its own dtype; plain pieces stand beside traced ones."""
    if name == "stack" and axis is None:
        pytest.skip("stack has no axis=None")
    if widest(backend) == "float32":
        pytest.skip(f"{backend.spec}: the device has one floating dtype")
    if (backend.name, name) == ("torch", "stack"):
        pytest.skip("torch: stack takes one dtype")
    x = backend.asarray(draw(1, (2,)), dtype="float32")
    y = backend.asarray(draw(2, (2,)), dtype="float64")
    plain = backend.asarray(draw(3, (2,)), dtype="float32")

    def f(x: Any, y: Any) -> Any:
        return getattr(_space(x), name)([x, plain, y], axis=axis)

    out, pullback = vjp(f, x, y)
    assert out.dtype == y.dtype
    pulled = pullback(out)
    assert [g.dtype for g in pulled] == [x.dtype, y.dtype]
    np.testing.assert_allclose(host(pulled[0]), host(x))
    np.testing.assert_allclose(host(pulled[1]), host(y))
    assert jvp(f, (x, y), (x, y))[1].dtype == out.dtype
    assert jvp(lambda x: f(x, y), (x,), (x,))[1].dtype == out.dtype


def test_pieces_of_whole_numbers_where_the_library_takes_them() -> None:
    x, counts = draw(1, (2,)).astype("float32"), np.arange(3)

    def f(x: Any) -> Any:
        return _space(x).concat([counts, x, _space(x).arange(2)])

    out, pullback = vjp(f, x)
    np.testing.assert_allclose(out, np.concat([counts, x, np.arange(2)]))
    pulled = pullback(np.ones(7))[0]
    assert pulled.dtype == x.dtype
    np.testing.assert_array_equal(pulled, np.ones(2))
    np.testing.assert_array_equal(jvp(f, (x,), (x,))[1], [0, 0, 0, *x, 0, 0])


def test_a_tangent_may_lie_otherwise_in_memory() -> None:
    """reshape(copy=False) of the values needs no copy; of these tangents it would."""
    x, tangent = np.ones((2, 3)), np.ones((3, 2)).T
    out = jvp(lambda x: _space(x).reshape(x, (6,), copy=False), (x,), (tangent,))[1]
    np.testing.assert_array_equal(out, np.ones(6))


# --- Options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flip", "roll", "take", "repeat", "tril", "squeeze", "diff"])
def test_options_by_position_where_the_library_takes_them(name: str) -> None:
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "flip": ((1,), {"axis": 1}), "roll": ((1, 1), {"shift": 1, "axis": 1}), "tril": ((-1,), {"k": -1}),
        "take": ((np.asarray([1, 0]), 1), {"indices": np.asarray([1, 0]), "axis": 1}),
        "repeat": ((2, 1), {"repeats": 2, "axis": 1}), "squeeze": ((2,), {"axis": 2}),
        "diff": ((2, 0), {"n": 2, "axis": 0}),
    }  # fmt: skip
    args, options = calls[name]
    x = draw(1, (3, 3, 1))
    by_position = vjp(lambda x: getattr(_space(x), name)(x, *args), x)
    by_name = vjp(lambda x: getattr(_space(x), name)(x, **options), x)
    np.testing.assert_array_equal(by_position[0], by_name[0])
    np.testing.assert_array_equal(by_position[0], getattr(np, name)(x, *args))
    u = draw(2, by_name[0].shape)
    np.testing.assert_array_equal(by_position[1](u)[0], by_name[1](u)[0])


# --- Creation and inspection inside a transform ----------------------------------------------------------

CREATION: dict[str, Callable[..., Any]] = {
    "arange": lambda xp, x, d: xp.arange(0, 3, dtype=x.dtype, device=d),
    "asarray": lambda xp, x, d: xp.asarray([1.0, 2.0], dtype=x.dtype, device=d),
    "empty": lambda xp, x, d: xp.empty((2, 0), dtype=x.dtype, device=d),
    "empty_like": lambda xp, x, d: xp.empty_like(x[:0, :]),
    "eye": lambda xp, x, d: xp.eye(2, 3, k=1, dtype=x.dtype, device=d),
    "full": lambda xp, x, d: xp.full((2,), 3.0, dtype=x.dtype, device=d),
    "full_like": lambda xp, x, d: xp.full_like(x, 3.0),
    "full_like-whole": lambda xp, x, d: xp.full_like(x, 3, dtype=xp.int32),
    "linspace": lambda xp, x, d: xp.linspace(0.0, 1.0, 5, dtype=x.dtype, device=d),
    "meshgrid": lambda xp, x, d: xp.meshgrid(xp.arange(3, dtype=x.dtype), xp.arange(2, dtype=x.dtype))[1],
    "ones": lambda xp, x, d: xp.ones((2, 3), dtype=x.dtype, device=d),
    "ones_like": lambda xp, x, d: xp.ones_like(x, dtype=xp.int32),
    "tril": lambda xp, x, d: xp.tril(xp.ones_like(x)),
    "triu": lambda xp, x, d: xp.triu(xp.ones_like(x), k=1),
    "zeros": lambda xp, x, d: xp.zeros(3, dtype=x.dtype, device=d),
    "zeros_like": lambda xp, x, d: xp.zeros_like(x),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATION)
def test_creation_functions_give_lifted_arrays(name: str, backend: Backend) -> None:
    x = backend.asarray(draw(1, (2, 3)), dtype="float32")
    device = None if backend.name == "jax" else x.device
    want, seen = CREATION[name](backend.xp, x, device), []

    def f(x: Any) -> Any:
        seen.append(CREATION[name](_space(x), x, device))
        return _space(x).sum(x)

    np.testing.assert_array_equal(host(grad(f)(x)), np.ones((2, 3)))
    assert type(seen[0]) is Tracer
    assert seen[0].trace.level == 0
    assert seen[0].dtype == want.dtype
    np.testing.assert_array_equal(host(seen[0].value), host(want))


def test_dtypes_of_traced_arrays_are_known(backend: Backend) -> None:
    x = backend.asarray(draw(1, (2, 3)), dtype="float32")

    def f(x: Any) -> Any:
        xp = _space(x)
        assert xp.result_type(x, 1.0) == xp.float32
        assert xp.result_type(x, x[0, 0], 2) == xp.float32
        assert xp.result_type(x, xp.ones_like(x)) == xp.float32
        assert xp.can_cast(x if backend.name != "jax" else x.dtype, xp.float32)  # jax: of dtypes only
        assert xp.finfo(x.dtype).bits == 32
        assert xp.iinfo(xp.int32).bits == 32
        assert xp.isdtype(x.dtype, "real floating")
        return xp.sum(x)

    grad(f)(x)


def test_a_traced_value_fills_an_array(backend: Backend) -> None:
    """The cotangents of all entries add up, in the dtype of the value."""
    x = backend.asarray(draw(1, (2, 3)), dtype=widest(backend))

    def f(x: Any) -> Any:
        xp = _space(x)
        return xp.sum(xp.full((2, 2), x[0, 0]) + xp.full_like(x[:, :2], x[1, 1], dtype=xp.float32))

    np.testing.assert_array_equal(host(grad(f)(x)), [[4, 0, 0], [0, 4, 0]])


def test_exchange_of_constants_inside_a_transform() -> None:
    def f(x: Any) -> Any:
        xp = _space(x)
        return xp.sum(x * xp.from_dlpack(xp.arange(3.0)))

    np.testing.assert_array_equal(grad(f)(np.ones(3)), [0, 1, 2])
