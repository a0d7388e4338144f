"""Functions that others wrote for the standard, differentiated as they are.

SciPy's take part when ``SCIPY_ARRAY_API`` was 1 in the environment before it loaded: conftest.py sets it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw
from xpnet.autodiff import check_grads, grad, jvp
from xpnet.backends import Backend, array_namespace
from xpnet.backends import backend as open_backend

# Each takes its library and a (5, 3) array of values between 0.5 and 1.5.
SCIPY: dict[str, Callable[[Any, Any], Any]] = {
    "special.logsumexp": lambda scipy, x: scipy.special.logsumexp(x, axis=1),
    "special.logsumexp, all axes": lambda scipy, x: scipy.special.logsumexp(x),
    "special.logsumexp, weighted": lambda scipy, x: scipy.special.logsumexp(
        x, axis=0, b=x * 2, keepdims=True
    ),
    "special.softmax": lambda scipy, x: scipy.special.softmax(x, axis=1),
    "special.log_softmax": lambda scipy, x: scipy.special.log_softmax(x, axis=0),
    "stats.zscore": lambda scipy, x: scipy.stats.zscore(x, axis=0),
    "stats.zscore, unbiased": lambda scipy, x: scipy.stats.zscore(x, axis=1, ddof=1),
    "stats.gzscore": lambda scipy, x: scipy.stats.gzscore(x, axis=0),
    "stats.skew": lambda scipy, x: scipy.stats.skew(x, axis=0),
    "stats.skew, unbiased": lambda scipy, x: scipy.stats.skew(x, axis=0, bias=False),
    "stats.kurtosis": lambda scipy, x: scipy.stats.kurtosis(x, axis=0),
    "stats.kurtosis, unbiased": lambda scipy, x: scipy.stats.kurtosis(x, axis=0, bias=False),
    "stats.gmean": lambda scipy, x: scipy.stats.gmean(x, axis=0),
    "stats.gmean, weighted": lambda scipy, x: scipy.stats.gmean(x, axis=0, weights=x),
    "stats.hmean": lambda scipy, x: scipy.stats.hmean(x, axis=0),
    "stats.pmean": lambda scipy, x: scipy.stats.pmean(x, 3, axis=0),
    "stats.moment": lambda scipy, x: scipy.stats.moment(x, order=3, axis=0),
    "stats.variation": lambda scipy, x: scipy.stats.variation(x, axis=0),
    "stats.sem": lambda scipy, x: scipy.stats.sem(x, axis=0),
}
EXTRA: dict[str, Callable[[Any, Any], Any]] = {
    "cov": lambda xpx, x: xpx.cov(x),
    "sinc": lambda xpx, x: xpx.sinc(x),
    "kron": lambda xpx, x: xpx.kron(x, x[:2, :]),
    "one_hot": lambda xpx, x: xpx.one_hot(array_namespace(x).argmax(x, axis=1), 3, dtype=x.dtype) * x,
    "cov of kron": lambda xpx, x: xpx.cov(xpx.kron(x, x)),
    "create_diagonal": lambda xpx, x: xpx.create_diagonal(x[0, :]),
    "pad": lambda xpx, x: xpx.pad(x, 1),
    "atleast_nd": lambda xpx, x: xpx.atleast_nd(x, ndim=3),
    "at, set": lambda xpx, x: xpx.at(x)[0, :].set(x[1, :] ** 2),
    "at, add": lambda xpx, x: xpx.at(x)[1:3, :].add(x[0, :]),
    "apply_where": lambda xpx, x: xpx.apply_where(x > 1, (x,), lambda y: y**2, lambda y: y**3),
    "nan_to_num": lambda xpx, x: xpx.nan_to_num(x),
}

LIBRARIES = ["numpy", "array_api_strict", "array_api_strict:device1", "torch:cpu", "cupy:0"]
everywhere = pytest.mark.parametrize("backend", LIBRARIES, indirect=True)


def _check(f: Callable[[Any], Any], backend: Backend) -> None:
    """Against finite differences on the backend, and against NumPy's derivatives."""
    there, here = (open_backend(b).asarray(draw(3, (5, 3), 0.5, 1.5)) for b in (backend, "numpy"))
    check_grads(f, (there,), order=1)
    directions = [open_backend(b).asarray(draw(4, (5, 3))) for b in (backend, "numpy")]
    got, want = (jvp(f, (x,), (v,))[1] for x, v in zip((there, here), directions, strict=True))
    np.testing.assert_allclose(backend.to_host(got), want, rtol=1e-9, atol=1e-11)


@everywhere
@pytest.mark.parametrize("name", SCIPY)
def test_scipy(name: str, backend: Backend) -> None:
    scipy = pytest.importorskip("scipy", reason="SciPy is not installed")
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("SCIPY_ARRAY_API is not 1")
    pytest.importorskip("scipy.stats")
    pytest.importorskip("scipy.special")
    _check(lambda x: SCIPY[name](scipy, x), backend)


@everywhere
@pytest.mark.parametrize("name", EXTRA)
def test_array_api_extra(name: str, backend: Backend) -> None:
    xpx = pytest.importorskip("array_api_extra", reason="array-api-extra is not installed")
    _check(lambda x: EXTRA[name](xpx, x), backend)


def test_scikit_learn_leaves_the_arrays() -> None:
    """Its metrics return Python numbers, whose derivative is lost: the refusal says so."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truth = np.asarray([1.0, 2.0, 3.0])
    with pytest.raises(TypeError):
        grad(lambda y: metrics.mean_squared_error(truth, y))(np.asarray([1.0, 2.5, 2.0]))
