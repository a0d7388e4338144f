"""Complex arrays by one convention, conversions between dtypes, reductions over any axes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, valid_tuple_axes

from tests.support import draw, widest
from xpnet.autodiff import grad, jvp, vjp
from xpnet.backends import Backend, array_namespace

# --- The convention for complex arrays ------------------------------------------------------------------


def _draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return draw(seed, shape, 0.3, 0.9) + 1j * draw(seed + 1, shape, 0.2, 0.8)


Z, W, X = _draw(1, (2, 3)), _draw(3, (2, 3)), draw(5, (3,), 0.5, 1.5)
UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "conj", "cos", "cosh", "exp", "expm1", "imag",
    "log", "log10", "log1p", "log2", "negative", "positive", "real", "reciprocal", "sign", "sin", "sinh",
    "sqrt", "square", "tan", "tanh", "mean", "prod", "sum",
)  # fmt: skip
COMPLEX: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    **{name: (lambda xp, z, n=name: getattr(xp, n)(z), (Z,)) for name in UNARY},
    **{f"cumulative_{n}": (lambda xp, z, n=n: getattr(xp, f"cumulative_{n}")(z, axis=1), (Z,))
       for n in ("prod", "sum")},
    **{name: (lambda xp, z, w, n=name: getattr(xp, n)(z, w), (Z, W))
       for name in ("add", "divide", "multiply", "pow", "subtract")},
    **{f"{name}-real": (lambda xp, z, x, n=name: getattr(xp, n)(z, x), (Z, X))
       for name in ("add", "divide", "multiply", "pow", "subtract")},
    **{f"real-{name}": (lambda xp, z, x, n=name: getattr(xp, n)(x, z), (Z, X))
       for name in ("add", "divide", "multiply", "pow", "subtract")},
    "operators": (lambda xp, z, w: (1 - 2j) * z**2 + 1j / w - abs(w) * (-z) + 2.0**z, (Z, W)),
    "where": (lambda xp, z, w: xp.where(xp.real(z) > 0.6, z, w), (Z, W)),
    **{f"fft.{name}": (lambda xp, z, n=name: getattr(xp.fft, n)(z), (Z,))
       for name in ("fft", "ifft", "fftn", "ifftn", "irfft", "irfftn", "hfft")},
    **{f"fft.{name}": (lambda xp, x, n=name: getattr(xp.fft, n)(x, n=5), (X,)) for name in ("rfft", "ihfft")},
}  # fmt: skip
every_function = pytest.mark.parametrize("name", COMPLEX)


def _cotangent(y: Any) -> np.ndarray:
    """Return one for ``y``, real or complex as it is."""
    return _draw(7, y.shape) if np.iscomplexobj(y) else draw(7, y.shape)


def _pulled(name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a cotangent of a function's result and those of its arguments."""
    f, args = COMPLEX[name]
    y, pullback = vjp(lambda *x: f(array_namespace(*x), *x), *args)
    u = _cotangent(y)
    return u, [np.asarray(g) for g in pullback(u)]


@every_function
def test_cotangents_stand_for_the_real_part_of_a_product(name: str) -> None:
    """Re Σ u dy = Re Σ c dx along complex directions, by differences; real arguments get real ones."""
    f, args = COMPLEX[name]
    run = lambda *x: f(array_namespace(*x), *x)  # noqa: E731
    u, pulled = _pulled(name)
    v = [_draw(9 + i, x.shape) if np.iscomplexobj(x) else draw(9, x.shape) for i, x in enumerate(args)]
    step = 1e-6
    ahead, behind = (run(*(x + s * d for x, d in zip(args, v, strict=True))) for s in (step, -step))
    difference = (ahead - behind) / (2 * step)
    want = np.sum(u * difference).real
    assert sum(np.sum(c * d).real for c, d in zip(pulled, v, strict=True)) == pytest.approx(want, rel=1e-7)
    np.testing.assert_allclose(jvp(run, args, tuple(v))[1], difference, rtol=1e-7, atol=1e-8)
    assert [c.dtype for c in pulled] == [x.dtype for x in args]


@functools.cache
def _jax_cotangents() -> dict[str, list[np.ndarray]]:
    """Return what JAX's own derivatives give for all functions: compiled at once, for each takes a while."""
    jax = pytest.importorskip("jax", reason="jax is not installed")

    @jax.jit
    def run() -> dict[str, Any]:
        made = {}
        for name, (f, args) in COMPLEX.items():
            y, pullback = jax.vjp(functools.partial(f, jax.numpy), *map(jax.numpy.asarray, args))
            made[name] = pullback(jax.numpy.asarray(_cotangent(y), dtype=y.dtype))
        return made

    return {name: [np.asarray(g) for g in pulled] for name, pulled in run().items()}


@pytest.mark.parametrize("name", [name for name in COMPLEX if name != "sign"])  # constant in JAX
def test_complex_cotangents_are_those_of_jax(name: str) -> None:
    for got, want in zip(_pulled(name)[1], _jax_cotangents()[name], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@every_function
def test_complex_cotangents_are_the_conjugates_of_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    f, args = COMPLEX[name]
    tensors = [torch.tensor(x, requires_grad=True) for x in args]
    y = f(array_namespace(*tensors), *tensors)
    u, pulled = _pulled(name)
    want = torch.autograd.grad(y, tensors, torch.tensor(u.conj()))
    for got, expected in zip(pulled, want, strict=True):
        np.testing.assert_allclose(got, expected.resolve_conj().numpy().conj(), rtol=1e-12, atol=1e-13)


def test_the_gradient_of_a_real_function_is_the_conjugate_of_the_steepest_ascent(backend: Backend) -> None:
    """|z|² rises fastest towards z; its gradient is ∂/∂Re - i ∂/∂Im = 2 conj(z)."""
    dtype = "complex128" if widest(backend) == "float64" else "complex64"
    z = backend.asarray(np.asarray([1 + 2j, -3j, 0]), dtype=dtype)
    for size in (
        lambda xp, z: xp.real(z * xp.conj(z)),
        lambda xp, z: xp.abs(z) ** 2,
        lambda xp, z: xp.real(z) ** 2 + xp.imag(z) ** 2,
    ):
        found = grad(lambda z, f=size: z.__array_namespace__().sum(f(z.__array_namespace__(), z)))(z)
        assert found.dtype == z.dtype
        np.testing.assert_allclose(_complex_host(backend, found), [2 - 4j, 6j, 0], rtol=1e-6, atol=1e-7)


def _complex_host(backend: Backend, z: Any) -> np.ndarray:
    xp = array_namespace(z)
    return np.asarray(backend.to_host(xp.real(z))) + 1j * np.asarray(backend.to_host(xp.imag(z)))


def test_the_size_and_sign_of_a_complex_zero_have_derivative_zero(backend: Backend) -> None:
    dtype = "complex128" if widest(backend) == "float64" else "complex64"
    z = backend.asarray(np.asarray([0j, 3 + 4j]), dtype=dtype)
    one = backend.asarray(np.asarray([1.0, 1.0]), dtype=widest(backend))
    (size,) = vjp(lambda z: z.__array_namespace__().abs(z), z)[1](one)
    np.testing.assert_allclose(_complex_host(backend, size), [0, 0.6 - 0.8j], rtol=1e-6)
    (turned,) = vjp(lambda z: z.__array_namespace__().sign(z), z)[1](z * 0 + 1)
    assert np.all(np.isfinite(_complex_host(backend, turned)))


# --- Conversions ----------------------------------------------------------------------------------------


CONVERSIONS = [
    (dtype, to)
    for dtype in ("float32", "float64", "complex64", "complex128")
    for to in ("float32", "float64", "complex64", "complex128")
    if not (dtype.startswith("complex") and to.startswith("float"))  # not in the standard: use xp.real
]


@pytest.mark.parametrize(("dtype", "to"), CONVERSIONS)
def test_conversions_give_cotangents_of_the_argument_s_dtype(dtype: str, to: str, backend: Backend) -> None:
    if widest(backend) != "float64":
        pytest.skip(f"{backend.spec}: no float64 on this device")
    x = backend.asarray(np.asarray([1.0, 2.0]), dtype=dtype)
    y, pullback = vjp(lambda x: x.__array_namespace__().astype(x, backend.dtype(to)), x)
    assert y.dtype == backend.dtype(to)
    g = pullback(y * (2 + 1j if to.startswith("complex") else 2))[0]
    assert g.dtype == x.dtype
    want = np.asarray([2, 4]) + (np.asarray([1j, 2j]) if dtype.startswith("complex") else 0)
    np.testing.assert_allclose(
        _complex_host(backend, g) if np.iscomplexobj(want) else backend.to_host(g), want
    )


def test_mixed_dtypes_of_sums_and_products(backend: Backend) -> None:
    """``dtype=`` accumulates in another dtype; the cotangent comes back in the argument's."""
    if widest(backend) != "float64":
        pytest.skip(f"{backend.spec}: no float64 on this device")
    x = backend.asarray(np.asarray([1.0, 2.0, 4.0]), dtype="float32")
    for name, want in (("sum", [1, 1, 1]), ("prod", [8, 4, 2]), ("cumulative_sum", [3, 2, 1]),
                       ("cumulative_prod", [11, 5, 2])):  # fmt: skip
        f = lambda x, n=name: getattr(x.__array_namespace__(), n)(x, dtype=backend.dtype("float64"))  # noqa: E731
        y, pullback = vjp(f, x)
        assert y.dtype == backend.dtype("float64")
        g = pullback(y * 0 + 1)[0]
        assert g.dtype == x.dtype
        np.testing.assert_allclose(backend.to_host(g), want)
        assert jvp(f, (x,), (x,))[1].dtype == backend.dtype("float64")


# --- Reductions over any axes ---------------------------------------------------------------------------


@st.composite
def _reductions(make: Any) -> tuple[tuple[int, ...], Any, bool]:
    """Return a shape, axes of it (None, one or several, negative ones too) and whether they are kept."""
    shape = make(array_shapes(min_dims=0, max_dims=4, max_side=3))
    axis = make(st.none() | valid_tuple_axes(len(shape)))
    if axis is not None and len(axis) == 1 and make(st.booleans()):
        axis = axis[0]
    return shape, axis, make(st.booleans())


@settings(max_examples=60, derandomize=True, deadline=None)
@given(_reductions())
def test_reductions_over_any_axes(drawn: Any) -> None:
    shape, axis, keepdims = drawn
    x, v = draw(1, shape, 0.5, 1.5), draw(2, shape)
    for name in ("sum", "mean", "prod", "var", "std", "max", "min"):

        def f(x: Any, name: str = name) -> Any:
            return getattr(array_namespace(x), name)(x, axis=axis, keepdims=keepdims)

        y, pullback = vjp(f, x)
        u = draw(3, np.shape(y))
        slope = (f(x + 1e-6 * v) - f(x - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose(jvp(f, (x,), (v,))[1], slope, rtol=1e-6, atol=1e-7)
        (pulled,) = pullback(u)
        assert np.shape(pulled) == shape
        assert np.sum(pulled * v) == pytest.approx(np.sum(u * slope), rel=1e-6, abs=1e-6)
