"""Libraries without a backend here: dask and ndonnx, whose arrays are lazy, and MLX, whose have no device.

Transforms take their arrays as they are, and return arrays of the same library. Nothing is computed by the
way: with dask any computation fails here, and arrays of ndonnx are arguments without values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest

from tests.autodiff.test_rules import CASES, _function
from tests.support import draw
from xpnet.autodiff import grad, hvp, jacobian, jvp, linearize, value_and_grad, vjp, vmap
from xpnet.backends import array_namespace
from xpnet.errors import RecordError

pytestmark = pytest.mark.filterwarnings("ignore:.*lossy cast:UserWarning")  # of onnxruntime


@dataclass(frozen=True)
class Library:
    """Arrays of a library: from NumPy's and back.

    Attributes:
        tolerance: of its results beside NumPy's in float64.
        lacking: what it lacks, by rule.
    """

    make: Callable[[Any], Any]
    host: Callable[[Any], Any]
    tolerance: float = 1e-12
    lacking: tuple[str, ...] = ()


def _dask() -> Library:
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    return Library(
        lambda x: da.from_array(x, chunks=2),
        lambda x: x.compute(scheduler="synchronous"),
        lacking=("sort",),  # whose derivative takes along an axis
    )


def _ndonnx() -> Library:
    nd = pytest.importorskip("ndonnx", reason="ndonnx is not installed")
    # its sin, cos and sinh are those of onnxruntime, which are float32's
    return Library(nd.asarray, lambda x: x.unwrap_numpy(), 1e-6)


def _mlx() -> Library:
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    mx.set_default_device(mx.cpu)
    narrow = {"float64": "float32"}
    return Library(
        lambda x: mx.array(x.astype(narrow.get(x.dtype.name, x.dtype.name))),
        np.asarray,
        1e-5,
        lacking=("sort",),  # no sorting in descending order
    )


class Bare:
    """An array with the least of attributes, as MLX's were: no device, ``mT`` or ``to_device``."""

    def __init__(self, value: Any):
        self.value = np.asarray(value)

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.value[index] = _opened(value)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return _BARE


def _opened(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(map(_opened, x))
    return x.value if type(x) is Bare else x


def _closed(out: Any) -> Any:
    if isinstance(out, (list, tuple)):
        return type(out)(map(_closed, out))
    return Bare(out) if isinstance(out, (np.ndarray, np.generic)) else out


def _on_values(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        assert "device" not in options
        return _closed(function(*map(_opened, args), **{key: _opened(x) for key, x in options.items()}))

    return call


for _name in ("add", "and", "eq", "ge", "getitem", "gt", "invert", "le", "lt", "matmul", "mul", "ne", "neg",
              "or", "pow", "radd", "rmul", "rpow", "rsub", "rtruediv", "sub", "truediv"):  # fmt: skip
    setattr(Bare, f"__{_name}__", _on_values(getattr(np.ndarray, f"__{_name}__")))


class _BareSpace:
    """Their functions: no ``hypot``, no ``device=``, and ``bool`` is called ``bool_``, as in MLX."""

    __name__ = "mlx.core"

    def __getattr__(self, name: str) -> Any:
        if name in ("bool", "hypot", "linalg", "fft"):
            raise AttributeError(name)
        value = getattr(array_api_compat.numpy, name)
        return value if isinstance(value, type) or not callable(value) else _on_values(value)


_BARE = _BareSpace()


def _bare() -> Library:
    return Library(Bare, _opened)


LIBRARIES = {"dask": _dask, "ndonnx": _ndonnx, "mlx": _mlx, "bare": _bare}
# ndonnx compiles each operation by itself
every_library = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name == "ndonnx")) for name in LIBRARIES]
)
A, W, V = draw(1, (4, 3)), draw(2, (3, 2)), draw(3, (3, 2))


@contextlib.contextmanager
def _not_computing(name: str) -> Iterator[None]:
    """Let every computation of dask fail."""
    if name != "dask":
        yield
        return
    import dask

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError("a lazy array was computed")

    with dask.config.set(scheduler=refuse):
        yield


def _energy(w: Any, a: Any) -> Any:
    xp = array_namespace(w, a)
    h = xp.tanh(xp.matmul(a, w) + 1.0)
    p = xp.exp(h - xp.max(h, axis=-1, keepdims=True))
    p = xp.where(p > 0.5, p, p**2) / xp.sum(p, axis=-1, keepdims=True)
    joined = xp.concat([p, xp.maximum(h, xp.zeros_like(h))], axis=1)
    rows = xp.take(joined, xp.asarray([2, 0, 2], device=w.device), axis=0)
    return xp.mean(rows[:, ::2] ** 2) + xp.sum(xp.square(w[1:, :] - w[:-1, :])) + xp.sum(xp.log1p(xp.abs(w)))


def _columns(w: Any, a: Any) -> Any:
    xp = array_namespace(w, a)
    return xp.sum(xp.tanh(xp.matmul(a, w)), axis=0)


TRANSFORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "grad": lambda w, v, a: grad(_energy)(w, a),
    "value_and_grad": lambda w, v, a: value_and_grad(_energy)(w, a)[0],
    "vjp": lambda w, v, a: (lambda y, pullback: pullback(y)[0])(*vjp(_columns, w, a)),
    "jvp": lambda w, v, a: jvp(_energy, (w, a), (v, a))[1],
    "linearize": lambda w, v, a: linearize(lambda w: _energy(w, a), w)[1](v),
    "jacrev": lambda w, v, a: jacobian(_columns)(w, a),
    "jacfwd": lambda w, v, a: jacobian(_columns, mode="forward")(w, a),
    "hvp": lambda w, v, a: hvp(lambda w: _energy(w, a), w, v),
    "vmap": lambda w, v, a: vmap(lambda row: _columns(w, row[None, ...]))(a),
}


@every_library
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_pass_the_arrays(transform: str, name: str) -> None:
    library, f = LIBRARIES[name](), TRANSFORMS[transform]
    with _not_computing(name):
        got = f(*map(library.make, (W, V, A)))
    assert type(got) is type(library.make(W))
    np.testing.assert_allclose(library.host(got), f(W, V, A), atol=library.tolerance)


_RULES = (
    "add", "subtract", "multiply", "divide", "pow", "exp", "log", "sqrt", "tanh", "atan", "asinh", "hypot",
    "abs", "maximum", "where", "clip", "sum", "mean", "var", "max", "prod", "cumulative_sum", "matmul",
    "tensordot", "reshape", "permute_dims", "concat", "stack", "broadcast_to", "flip", "roll", "getitem",
    "take", "affine", "relu", "sigmoid", "softmax", "logsumexp", "log_softmax", "cross_entropy", "embedding",
    "sort",
)  # fmt: skip
_FIRST = {case.rule: case for case in reversed(CASES) if case.rule in _RULES}


@every_library
@pytest.mark.parametrize("rule", _RULES)
def test_rules_have_the_derivatives_of_numpy(rule: str, name: str) -> None:
    library, case = LIBRARIES[name](), _FIRST[rule]
    if rule in library.lacking:
        pytest.skip(f"{name}: lacks what {rule} or its derivative calls")
    u = draw(60, np.shape(_function(case, *case.constants)(*case.args)))

    def both(args: Any, constants: Any, u: Any) -> list[Any]:
        f = _function(case, *constants)
        return [*vjp(f, *args)[1](u), jvp(f, tuple(args), tuple(args))[1]]

    with _not_computing(name):
        found = both(
            list(map(library.make, case.args)), list(map(library.make, case.constants)), library.make(u)
        )
    for got, want in zip(found, both(case.args, case.constants, u), strict=True):
        np.testing.assert_allclose(
            library.host(got), want, rtol=library.tolerance, atol=10 * library.tolerance
        )


@pytest.mark.parametrize(
    "transform", ["jvp", *(pytest.param(t, marks=pytest.mark.full) for t in TRANSFORMS if t != "jvp")]
)
def test_derivatives_are_graphs_of_onnx(transform: str) -> None:
    """Also of arguments without values: a file that computes a gradient."""
    nd = pytest.importorskip("ndonnx", reason="ndonnx is not installed")
    got = TRANSFORMS[transform](*(nd.argument(shape=x.shape, dtype=nd.float64) for x in (W, V, A)))
    assert got.dtype == nd.float64
    with pytest.raises(ValueError, match="no propagated value"):
        got.unwrap_numpy()


def test_sizes_that_depend_on_lazy_values_are_refused() -> None:
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    x = da.from_array(draw(1, (6,)), chunks=2)
    with pytest.raises(RecordError, match=r"expected lazy arrays of known sizes, found .*; use xp\.where"):
        grad(lambda x: array_namespace(x).sum(x[x > 0] ** 2))(x)
