"""What recorded operations are a part of, and the names that kernels get from it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from xpnet import losses, nn, optim
from xpnet.autodiff import hvp, value_and_grad
from xpnet.autodiff.functions import softplus
from xpnet.autodiff.scopes import current_scope, scope
from xpnet.backends import array_namespace
from xpnet.errors import RecordError
from xpnet.program import record
from xpnet.program.lowerings.cupy import kernels
from xpnet.program.passes.expand import expand
from xpnet.program.passes.groups import group_operations
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program

X, Y = np.ones((4, 3)), np.asarray([0, 1, 1, 0])


class _Twice(nn.Layer):
    """A layer of a user's own."""

    def forward(self, params: Any, state: Any, x: Any, *, training: bool, key: Any) -> Any:
        return x * 2.0, {}


MODEL = nn.Sequential(nn.Dense(5), nn.Tanh(), _Twice(), nn.Dense(2))
OPTIMIZER = optim.Adam()


def _step(params: Any, state: Any) -> Any:
    """A step of training, as a user may write it."""

    def loss(params: Any) -> Any:
        outputs = MODEL.apply(nn.Variables(params, {}), X)
        with scope("the_loss_forward"):
            return losses.softmax_cross_entropy(outputs, Y)

    value, gradient = value_and_grad(loss)(params)
    with scope("adam_update"):
        return value, *OPTIMIZER.update(gradient, state, params)


def _arguments() -> tuple[Any, Any]:
    params = MODEL.init(0, 3, "numpy", "float64").params
    return params, OPTIMIZER.init(params)


def _scopes(program: Program) -> dict[str, set[str]]:
    """Return the names of operations in each scope."""
    found: dict[str, set[str]] = {}
    for operation in program.operations:
        found.setdefault(operation.scope, set()).add(operation.name)
    return found


def test_operations_know_what_they_are_a_part_of() -> None:
    found = _scopes(record(_step)(*_arguments()))
    assert found["dense_forward"] == {"matmul", "add"}
    assert found["tanh_forward"] == {"tanh"}
    assert "multiply" in found["twice_forward"]
    assert {"exp", "log", "sum"} <= found["the_loss_forward"]
    assert {"exp", "divide"} <= found["the_loss_backward"]
    assert "multiply" in found["tanh_backward"]
    assert found["twice_backward"] == {"multiply"}
    assert {"matmul", "sum"} <= found["dense_backward"]
    assert "concat" in found["unpack_backward"]
    assert {"sqrt", "subtract"} <= found["adam_update"]
    assert "" not in found


def test_derivatives_of_derivatives_are_still_of_the_same_layer() -> None:
    params, _ = _arguments()

    def loss(flat: Any) -> Any:
        tanh = MODEL.apply(nn.Variables(type(params)(flat, params.layout), {}), X)
        return array_namespace(tanh).sum(softplus(tanh))

    found = _scopes(record(lambda x, v: hvp(loss, x, v))(params.flat, params.flat))
    assert {name for name in found if "tanh" in name or "softplus" in name} == {
        "tanh_forward", "tanh_backward", "softplus_forward", "softplus_backward"
    }  # fmt: skip


def test_scopes_end_whatever_happens() -> None:
    def diverted(x: Any) -> Any:
        with scope("inside_forward"):
            y = array_namespace(x).exp(x)
        return y if y[0] > 0 else x

    with scope("outside"):
        with pytest.raises(RecordError):
            record(value_and_grad(diverted))(np.ones(3))
        assert current_scope() == "outside"
    assert current_scope() == ""


def test_what_is_equal_is_computed_once_whatever_it_is_a_part_of() -> None:
    def f(x: Any) -> Any:
        with scope("one"):
            a = array_namespace(x).exp(x)
        with scope("other"):
            return a, array_namespace(x).exp(x) + a

    program = record(f)(np.ones(3))
    assert [(op.name, op.scope) for op in simplify(program).operations] == [("exp", "one"), ("add", "other")]
    assert str(program).splitlines()[1] == "%1 float64[3] = exp(%0)  # one"


def _grouped(*names: str) -> str:
    """Return the scope of a group of an operation in each of these scopes."""

    def f(x: Any) -> Any:
        for name in names:
            with scope(name):
                x = array_namespace(x).tanh(x)
        return x

    program = group_operations(record(f)(np.ones(3)), lambda op: True)
    (group,) = program.operations
    return group.scope


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["dense_forward"], "dense_forward"),
        (["dense_forward", "relu_forward"], "dense_relu_forward"),
        (["relu_forward", "relu_backward"], "relu_forward_backward"),
        (["relu_backward", "adam_update"], "relu_backward_adam_update"),
        (["a_forward", "b_forward", "", "c_forward", "c_forward", "b_forward"], "b_c_forward"),
        ([""], ""),
    ],
)
def test_groups_are_named_for_most_of_what_is_in_them(names: list[str], expected: str) -> None:
    assert _grouped(*names) == expected


def test_what_a_mean_or_a_product_is_made_of_is_a_part_of_the_same() -> None:
    def f(x: Any, w: Any) -> Any:
        with scope("norm_forward"):
            return array_namespace(x).var(x, axis=0) + x[0, :] @ w

    program = expand(simplify(record(f)(X, np.ones(3))))
    assert len(program.operations) > 6
    assert {op.scope for op in program.operations} == {"norm_forward"}


def test_kernels_have_names_that_c_has_not() -> None:
    made = [
        kernels.Kernel(f"{i} NAME", (), 1, 1, label)
        for i, label in [
            (0, "relu_forward"), (1, "relu_forward"), (2, "relu_forward_2"), (3, "exp"), (4, ""),
            (5, "my loss"), (6, "b"), (6, "relu_backward"), (6, "relu_backward"), (7, "x_" * 300),
        ]
    ]  # fmt: skip
    source, names = kernels.module_source(made)
    assert list(names.values())[:-1] == [
        "relu_forward", "relu_forward_2", "relu_forward_2_2", "exp_kernel", "unnamed_kernel", "my_loss",
        "relu_backward",
    ]  # fmt: skip
    assert len(names["7 NAME"]) <= 80
    assert "3 exp_kernel" in source.splitlines()


@pytest.mark.backends("cupy")
def test_a_profiler_sees_what_kernels_compute() -> None:
    """Equal layers share a kernel, which is named once."""
    from xpnet import Trainer

    model = nn.Sequential(nn.Dense(6), nn.ReLU(), nn.Dense(6), nn.ReLU(), nn.Dense(2))
    trainer = Trainer(model, "softmax_cross_entropy", "adam", backend="cuda", progress=False)
    trainer.fit(np.ones((8, 6)), np.arange(8) % 2, epochs=2, batch_size=4)
    (runner,) = trainer._steps.loop._runners.values()
    assert re.findall(r"__global__ void (?:__launch_bounds__\(\d+\) )?(\w+)", runner.source) == [
        "batch_gather", "batch_gather_2", "dense_relu_forward", "softmax_cross_entropy_forward_backward",
        "dense_backward", "relu_dense_backward", "adam_update", "next_step", "begin_steps",
    ]  # fmt: skip
