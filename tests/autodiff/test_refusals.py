"""What cannot be recorded or differentiated is refused with RecordError, saying what to do."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from xpnet.autodiff import check_grads, ggn_vp, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.tracer import dispatch
from xpnet.backends import array_namespace
from xpnet.errors import RecordError, XpnetError
from xpnet.parameters import Layout, Parameters

X = np.asarray([1.0, 2.0, 3.0])


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


_shifted = dispatch(Rule("shifted", (lambda xp, g, out, x, shift: g,)), lambda x, shift: x + shift)


def _escape(x: Any) -> Any:
    kept: list[Any] = []
    grad(lambda y: kept.append(y * 2) or _sum(y))(X)
    return _sum(kept[0] * x)


def _escape_to_plain_code(x: Any) -> Any:
    kept: list[Any] = []
    jvp(lambda y: kept.append(y) or y, (X,), (X,))
    return array_namespace(kept[0]).exp(kept[0])


def _escaped(fail: bool = False) -> Any:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(_sum(x * 2))
        if fail:
            raise ZeroDivisionError
        return kept[0]

    with contextlib.suppress(ZeroDivisionError):
        grad(f)(X)
    return kept[0]


def _pullback_that_escaped() -> Any:
    kept: list[Any] = []
    grad(lambda x: kept.append(vjp(lambda y: y * x, x)[1]) or _sum(x))(X)
    return kept[0]


def _assigned_inside(x: Any) -> Any:
    """An array of the outer transform becomes one of the inner by assignment, and cannot leave it."""
    buffer = array_namespace(x).zeros_like(x)

    def inner(y: Any) -> Any:
        buffer[0] = y[0]
        return _sum(y)

    grad(inner)(x)
    return _sum(buffer * x)


REFUSALS: dict[str, tuple[Any, str]] = {
    "result of several values": (
        lambda: grad(lambda x: x * 2)(X),
        r"0-d array as result, found shape \(3,\).*vjp",
    ),
    "result that is no array": (lambda: grad(lambda x: [_sum(x)])(X), "0-d array as result, found list"),
    "integer result": (
        lambda: grad(lambda x: array_namespace(x).argmax(x))(X),
        "floating result, found dtype int64",
    ),
    "integer argument": (
        lambda: grad(_sum)(np.asarray([1, 2])),
        "floating array as argument 0, found dtype int64",
    ),
    "integer number": (lambda: grad(lambda x: x * 2.0)(3), "floating array as argument 0, found dtype int64"),
    "text as argument": (lambda: grad(_sum)("abc"), "floating array as argument 0, found str"),
    "nothing to differentiate": (
        lambda: grad(_sum)({"a": np.asarray([1])}),
        "floating array among the arguments",
    ),
    "no such argument": (lambda: grad(_sum, argnums=2)(X), "expected argument number 2, found 1 arguments"),
    "escaped array": (lambda: grad(_escape)(X), "escaped from a finished one.*stop_gradient"),
    "escaped into plain code": (lambda: _escape_to_plain_code(X), "escaped from a finished one"),
    "float": (lambda: grad(lambda x: float(x[0]))(X), "cannot become a Python number.*stop_gradient"),
    "int": (lambda: grad(lambda x: int(x[0]))(X), "cannot become a Python number"),
    "complex": (lambda: grad(lambda x: complex(x[0]))(X), "cannot become a Python number"),
    "index": (lambda: grad(lambda x: [1, 2, 3][x[0]])(X), "cannot become a Python number"),
    "no rule": (
        lambda: grad(lambda x: array_namespace(x).nanprod(x))(X),
        "nanprod: .* rule.*custom_rule",
    ),
    "no rule in linalg": (
        lambda: grad(lambda x: array_namespace(x).linalg.cond(x))(np.eye(2)),
        "linalg.cond: .* rule",
    ),
    "NumPy ufunc": (
        lambda: grad(lambda x: np.sum(np.tanh(x)))(X),
        "NumPy function was applied.*__array_namespace__",
    ),
    "NumPy ufunc of two": (lambda: grad(lambda x: np.add(x, 1.0))(X), "NumPy function was applied"),
    "NumPy ufunc into an array": (
        lambda: grad(lambda x: np.add(X, x, out=np.ones(3)))(X),
        "NumPy function was applied",
    ),
    "NumPy ufunc of a constant first": (
        lambda: grad(lambda x: _sum(np.maximum(array_namespace(x).zeros_like(x), x)))(X),
        "NumPy function was applied",
    ),
    "NumPy reduction": (lambda: grad(lambda x: np.sum(x))(X), "NumPy function was applied"),
    "NumPy function": (lambda: grad(lambda x: np.stack([x, x]))(X), "NumPy function was applied"),
    "list made an array": (lambda: grad(lambda x: np.asarray([x[0], x[1]]))(X), "NumPy function was applied"),
    "T of a vector": (lambda: grad(lambda x: _sum(x.T))(X), r"T: expected a matrix, found shape \(3,\)"),
    "argument without derivative": (
        lambda: grad(lambda shift: _sum(_shifted(X, shift)))(1.0),
        "shifted: expected no traced array as argument 2.*stop_gradient",
    ),
    "few cotangents": (
        lambda: vjp(lambda x: (x, x), X)[1](X),
        r"cotangent: expected a tuple of 2, found ndarray",
    ),
    "shape of cotangent": (
        lambda: vjp(lambda x: x, X)[1](np.ones(2)),
        r"cotangent: expected the shape \(3,\) of its array, found \(2,\)",
    ),
    "number as cotangent": (
        lambda: vjp(lambda x: x, X)[1](1.0),
        r"cotangent: expected an array of shape \(3,\), found float; .*zeros_like",
    ),
    "few tangents": (
        lambda: jvp(lambda x, y: x * y, (X, X), (X,)),
        "tangents: expected a tuple of 2, found a tuple of 1",
    ),
    "shape of tangent": (
        lambda: jvp(lambda x: x, (X,), (np.asarray(1.0),)),
        r"tangents\[0\]: expected the shape \(3,\) of its array, found \(\)",
    ),
    "None as cotangent": (
        lambda: vjp(lambda x: [x, x], X)[1]([X, None]),
        r"cotangent\[1\]: .*found NoneType",
    ),
    "keys of cotangent": (
        lambda: vjp(lambda x: {"a": x}, X)[1]({"b": X}),
        r"cotangent: expected a dict with the keys \['a'\], found a dict with the keys \['b'\]",
    ),
    "cotangent of Parameters": (
        lambda: vjp(lambda p: p, Parameters(X, Layout((("w", (3,)),))))[1](X),
        "cotangent: expected a Parameters, found ndarray",
    ),
    "dtype of cotangent": (
        lambda: vjp(lambda x: x, X)[1](X.astype(np.float32)),
        "cotangent: expected the dtype float64 of its array, found float32",
    ),
    "integer tangent": (
        lambda: jvp(lambda x: x, (X,), (np.asarray([1, 0, 0]),)),
        r"tangents\[0\]: expected the dtype float64 .*found int64",
    ),
    "tangents without a tuple": (
        lambda: jvp(lambda x: x, X, X),
        r"tuple of primals.*jvp\(f, \(x,\), \(v,\)\)",
    ),
    "shape of the vector": (lambda: hvp(_sum, X, X[:2]), r"expected the shape \(3,\) .*found \(2,\)"),
    "complex result": (
        lambda: grad(lambda x: _sum(x) * 1j)(X),
        r"real result, found dtype complex128; .*xp.real.*jacobian",
    ),
    "no result": (lambda: grad(lambda x: None)(X), "found None; does it return what it computes"),
    "no result of vjp": (lambda: vjp(lambda x: None, X), "vjp of <lambda>: .*found None"),
    "text as result": (lambda: vjp(lambda x: {"a": "b"}, X), "expected arrays .*found str"),
    "text as result of jvp": (lambda: jvp(lambda x: "a", (X,), (X,)), "jvp of <lambda>: .*found str"),
    "text as result of jacobian": (lambda: jacobian(lambda x: "a")(X), "jacobian of <lambda>: .*found str"),
    "no aux": (lambda: value_and_grad(_sum, has_aux=True)(X), r"pair \(value, aux\) as result.*found Tracer"),
    "mode of jacobian": (
        lambda: jacobian(_sum, mode="rev"),
        "jacobian of _sum: .*'rev'; did you mean 'reverse'",
    ),
    "argnums that are no numbers": (lambda: grad(_sum, argnums="x")(X), "argnums to be a whole number"),
    "one argument twice": (
        lambda: grad(_sum, argnums=(0, -1))(X),
        r"name each argument once, found \(0, -1\)",
    ),
    "hessian of several values": (
        lambda: hessian(lambda x: x)(X),
        r"0-d array as result, found shape \(3,\)",
    ),
    "loss of several values": (
        lambda: ggn_vp(lambda x: x, lambda y: y, X, X),
        r"0-d array as result, found shape \(3,\)",
    ),
    "pullback after its outer transform": (
        lambda: _pullback_that_escaped()(X),
        "multiply: .*escaped from a finished one",
    ),
    "escaped array as result": (lambda: grad(lambda x: _escaped())(X), "grad of <lambda>: .*escaped"),
    "escaped from a transform that failed": (lambda: _escaped(fail=True) + 1, "add: .*escaped"),
    "assigned to by an inner transform": (lambda: grad(_assigned_inside)(X), "multiply: .*escaped"),
    "mode of check": (lambda: check_grads(lambda x: x, (X,), modes=("sideways",)), "found 'sideways'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_a_message_that_says_what_to_do(name: str) -> None:
    run, message = REFUSALS[name]
    with pytest.raises(RecordError, match=message) as caught:
        run()
    assert isinstance(caught.value, XpnetError)
    assert isinstance(caught.value, TypeError)


def test_a_finished_transform_leaves_its_arrays_readable() -> None:
    kept: list[Any] = []
    grad(lambda x: kept.append(x) or _sum(x))(X)
    assert kept[0].shape == (3,)
    assert "Tracer(" in repr(kept[0])


def test_an_error_inside_the_function_is_passed_on() -> None:
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("mine")

    for run in (lambda: grad(broken)(X), lambda: vjp(broken, X), lambda: jvp(broken, (X,), (X,))):
        with pytest.raises(ZeroDivisionError, match="mine"):
            run()
    np.testing.assert_array_equal(grad(_sum)(X), np.ones(3))


# --- Libraries and devices that do not mix -----------------------------------------------------------


def test_arrays_of_two_libraries_are_refused() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    there = torch.ones(3, dtype=torch.float64)
    f = lambda x, y: _sum(x * y)  # noqa: E731
    with pytest.raises(
        RecordError, match=r"grad of <lambda>: expected arrays of one library, found numpy and"
    ):
        grad(f, argnums=(0, 1))(X, there)
    for run in (
        lambda: grad(lambda x: _sum(x * there))(X),
        lambda: grad(lambda x: _sum(there * x))(X),
        lambda: grad(lambda x: _sum(x * X))(there),
        lambda: jvp(lambda x: array_namespace(x).matmul(x, X), (there,), (there,)),
        lambda: vjp(lambda x: x, X)[1](there),
        lambda: jvp(lambda x: x, (X,), (there,)),
        lambda: grad(lambda x: _sum(grad(lambda y: _sum(y * there))(x)))(X),
    ):
        with pytest.raises(RecordError, match=r"expected arrays of one library, found .*asarray"):
            run()


def test_arrays_on_two_devices_are_refused() -> None:
    strict = pytest.importorskip("array_api_strict")
    here, there = (strict.ones(3, device=strict.Device(name)) for name in ("CPU_DEVICE", "device1"))
    for run in (
        lambda: grad(lambda x: _sum(x * there))(here),
        lambda: jvp(lambda x: array_namespace(x).add(x, there), (here,), (here,)),
        lambda: grad(lambda x, y: _sum(x * y), argnums=(0, 1))(here, there),
        lambda: vjp(lambda x: x, here)[1](there),
        lambda: hessian(lambda x: _sum(x * x * there))(here),
    ):
        with pytest.raises(RecordError, match=r"expected arrays on one device, found .*to_device"):
            run()
    moved = grad(lambda x: _sum(x.to_device(there.device) * there))(here)
    assert moved.device == here.device


def test_other_errors_of_the_library_come_through() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        grad(lambda x: _sum(x * np.ones(2)))(X)
    with pytest.raises(ValueError, match="broadcast"):
        jvp(lambda x: x * np.ones(2), (X,), (X,))
