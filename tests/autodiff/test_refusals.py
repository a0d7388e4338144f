"""What cannot be recorded or differentiated is refused with RecordError, saying what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xpnet.autodiff import check_grads, grad, jvp, vjp
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.tracer import dispatch
from xpnet.backends import array_namespace
from xpnet.errors import RecordError, XpnetError

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
