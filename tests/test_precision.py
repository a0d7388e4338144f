"""Precision of products: what devices can do, and that the environment does not decide."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.train.support import class_data, make
from xpnet import Trainer
from xpnet.backends import Backend, precision
from xpnet.errors import ConfigError
from xpnet.train import checkpoint

X, Y = class_data(24)
NEAR_ONE = 1 + 2.0**-12  # a float32 that TF32 rounds to 1


def device_of(name: str, **facts: Any) -> Backend:
    """Return a backend whose device says so of itself; nothing can be computed there."""
    return Backend(name, f"{name}:0", None, SimpleNamespace(**facts))


@pytest.mark.parametrize(
    ("home", "wanted", "message"),
    [
        (
            xpnet.backend("numpy"),
            "tf32",
            "expected 'float32' on backend numpy, .*which only CUDA",
        ),
        (xpnet.backend("numpy"), "tf23", "expected 'float32' or 'tf32', found 'tf23'; did you mean 'tf32'"),
        (xpnet.backend("numpy"), None, "found None"),
        (
            device_of("cupy", id=0, compute_capability="75"),
            "tf32",
            "this one having 7; leave it out",
        ),
        (
            device_of("jax", platform="cuda", local_hardware_id=0, compute_capability="7.0"),
            "tf32",
            "this one having 7",
        ),
    ],
)
def test_what_a_device_lacks(home: Backend, wanted: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"precision: .*{message}"):
        home.with_precision(wanted)


@pytest.mark.parametrize(
    "home",
    [
        device_of("cupy", id=1, compute_capability="80"),
        device_of("cupy", id=0, compute_capability="121"),
        device_of("jax", platform="gpu", local_hardware_id=0, compute_capability="10.0"),
    ],
)
def test_newer_devices_have_tf32(home: Backend) -> None:
    rounding = home.with_precision("tf32")
    assert rounding.precision == "tf32"
    assert home.precision == rounding.with_precision("float32").precision == "float32"
    assert rounding == home  # the same device


@pytest.mark.parametrize("before", [None, "tf32"])
def test_settings_of_pytorch_are_set_and_set_back(before: str | None, request: Any) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    products = torch.backends.cuda.matmul
    if not hasattr(products, "fp32_precision"):
        pytest.skip("this PyTorch has no fp32_precision")
    if before is not None:
        request.addfinalizer(lambda known=products.fp32_precision: setattr(products, "fp32_precision", known))
        products.fp32_precision = before
    found = products.fp32_precision
    for wanted, expected in (("float32", "ieee"), ("tf32", "tf32")):
        with precision.using(wanted, "torch"):
            assert (products.fp32_precision, precision.current()) == (expected, wanted)
        assert (products.fp32_precision, precision.current()) == (found, "float32")


def test_settings_of_jax_are_set_and_set_back() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    before = jax.config.jax_default_matmul_precision
    with precision.using("float32", "jax"):
        assert jax.config.jax_default_matmul_precision == "float32"
        with precision.using("tf32", "jax"):
            assert jax.config.jax_default_matmul_precision == "tensorfloat32"
        assert precision.current() == "float32"
    assert jax.config.jax_default_matmul_precision == before


def test_programs_of_two_precisions_are_two() -> None:
    product = xpnet.compile(lambda x: x @ x)
    for wanted, recordings in (("float32", 1), ("tf32", 2), ("float32", 2)):
        with precision.using(wanted):
            product(np.ones((2, 2)))
        assert product.recordings == recordings


def test_a_trainer_of_tf32_is_used_where_there_is_none(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make(dtype="float32")
    trainer.fit(X, Y, epochs=1)
    with monkeypatch.context() as patch:  # as a device with TF32 saves it
        patch.setattr(
            checkpoint, "stored", lambda s, found=checkpoint.stored: found(s) | {"precision": "tf32"}
        )
        trainer.save(tmp_path)
    with caplog.at_level(logging.INFO, "xpnet"):
        here = Trainer.load(tmp_path, "numpy")
    assert here.precision == "float32"
    assert [r.getMessage() for r in caplog.records] == ["precision: tf32 -> float32 (from epoch 2 on)"]
    with pytest.raises(ConfigError, match="precision: expected 'float32' on backend numpy"):
        Trainer.load(tmp_path, "numpy", precision="tf32")


# --- On a CUDA device --------------------------------------------------------------------------------


@pytest.fixture
def cuda() -> Backend:
    return xpnet.backend("cuda")


@pytest.fixture
def environment_wants_tf32(cuda: Backend) -> Any:
    """CuPy as CUPY_TF32=1 makes it when it is first asked for a product."""
    core = __import__("cupy")._core
    before = core.get_compute_type("float32")
    core.set_compute_type("float32", 7)
    yield
    assert core.get_compute_type("float32") == 7  # the user's own code has it still
    core.set_compute_type("float32", before)


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("wanted", ["float32", "tf32"])
def test_products_of_a_device_are_as_asked(wanted: str, cuda: Backend, environment_wants_tf32: Any) -> None:
    home = cuda.with_precision(wanted)
    with home.activate():
        x = home.xp.full((64, 64), NEAR_ONE, dtype="float32")
        plain, compiled = x @ x, xpnet.compile(lambda x: x @ x)(x)
    expected = 64.0 if wanted == "tf32" else 64 * NEAR_ONE**2
    for found in (plain, compiled):
        np.testing.assert_allclose(home.to_host(found), expected, rtol=1e-6)


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_training_in_tf32_rounds(compile: str, cuda: Backend, environment_wants_tf32: Any) -> None:
    found = {}
    for wanted in ("float32", "tf32"):
        trainer = make(backend=cuda, dtype="float32", precision=wanted, compile=compile)
        trainer.fit(X, Y, epochs=3, batch_size=8)
        found[wanted] = trainer.backend.to_host(trainer.variables.params.flat)
        assert trainer.precision == wanted
    host = make(dtype="float32", compile="off")
    host.fit(X, Y, epochs=3, batch_size=8)
    exact = host.variables.params.flat
    assert np.abs(found["float32"] - exact).max() < 1e-5 < np.abs(found["tf32"] - exact).max() < 1e-1


@pytest.mark.backends("cupy")
def test_tf32_is_one_of_float32(cuda: Backend) -> None:
    with pytest.raises(ConfigError, match="precision: expected 'float32' for dtype float64, found 'tf32'"):
        make(backend=cuda, dtype="float64", precision="tf32")
