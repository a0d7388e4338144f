"""Several trainings as one: ``vmap`` of the training step, each member with its own rows and draws."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tests.train.support import class_data, make
from xpnet import Trainer, nn, optim
from xpnet.autodiff import vmap
from xpnet.parameters import Parameters
from xpnet.program import record
from xpnet.program.looping import Loop
from xpnet.train.rows import Rows
from xpnet.train.step import Scalars, Step, StepState
from xpnet.train.steps import CompiledSteps

X, Y = class_data(40)
MEMBERS, BATCH, STEPS = 4, 8, 6
LOWERINGS = [
    "off",
    "numpy",
    pytest.param(
        "numba",
        marks=[
            pytest.mark.full,
            pytest.mark.skipif(not find_spec("numba"), reason="numba is not installed"),
        ],
    ),
]


def _member(seed: int) -> Trainer:
    """Return a trainer of a network that draws, and keeps statistics, after an epoch."""
    layers = [nn.Dense(6), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3)]
    trainer = make(model=nn.Sequential(layers), optimizer=optim.SGD(0.05, momentum=0.9), seed=seed)
    trainer.fit(X, Y, epochs=1, batch_size=BATCH)
    return trainer


def _loop_step(trainer: Trainer) -> tuple[Any, list[Any], list[Any]]:
    """Return a member's step on lists of arrays, its state, and the numbers and words of its next steps."""
    setup, state = trainer.setup, trainer.state
    step = Step(setup, trainer.variables.params.layout)
    known = CompiledSteps(setup, step, state, Rows(X, Y, None))._step
    return known, known.carry(state), known.ahead(setup, state, STEPS)


@pytest.mark.parametrize("lower", LOWERINGS)
def test_members_together_train_as_they_do_alone(lower: str) -> None:
    members = [_loop_step(_member(seed)) for seed in range(MEMBERS)]
    step, carries, numbers = members[0][0], [m[1] for m in members], [m[2] for m in members]
    orders = np.random.default_rng(0).integers(len(X), size=(STEPS, MEMBERS, BATCH))
    shared = len(numbers[0]) - len(step._paths)  # the learning rates; the others are words of random keys
    words = [np.stack(parts, axis=1) for parts in zip(*(n[shared:] for n in numbers), strict=True)]
    axes = [0, *[None] * shared, *[0] * len(words)]
    together = Loop(vmap(step, (0, None, axes)), lower)
    carry = [np.stack(parts) for parts in zip(*carries, strict=True)]
    carry, (losses,) = together(carry, [X, Y], [orders, *numbers[0][:shared], *words])
    assert together.reason == ""
    assert words
    for n in range(MEMBERS):
        alone, (loss,) = Loop(step, lower)(carries[n], [X, Y], [orders[:, n], *numbers[n]])
        np.testing.assert_allclose(losses[:, n], loss, rtol=1e-10)
        for got, want in zip(carry, alone, strict=True):
            np.testing.assert_allclose(got[n], want, rtol=1e-8, atol=1e-10)


def test_the_step_itself_takes_stacked_states() -> None:
    trainers = [make(seed=seed) for seed in range(MEMBERS)]
    for trainer in trainers:
        trainer.fit(X, Y, epochs=1, batch_size=BATCH)
    setup, layout = trainers[0].setup, trainers[0].variables.params.layout
    step, rows = Step(setup, layout), np.random.default_rng(0).integers(len(X), size=(MEMBERS, BATCH))

    def taken(state: StepState, rows: Any) -> Any:
        return step(
            state, Rows(X, Y, None).take(rows), setup.step_key(1), Scalars(step.scalars(9, 9).optimizer)
        )

    states = []
    for trainer in trainers:
        slots = {name: trainer.opt_state[name] for name in step.optimizer.slots}
        states.append(StepState(trainer.variables.params, trainer.variables.state, slots))
    flat = np.stack([state.params.flat for state in states])
    slots = {
        name: Parameters(np.stack([state.slots[name].flat for state in states]), layout)
        for name in step.optimizer.slots
    }
    stacked = StepState(Parameters(flat, layout), states[0].model_state, slots)
    after, losses = vmap(taken)(stacked, rows)
    for n, state in enumerate(states):
        want, loss = taken(state, rows[n])
        np.testing.assert_allclose(after.params.flat[n], want.params.flat, rtol=1e-10)
        np.testing.assert_allclose(
            after.slots[step.optimizer.slots[0]].flat[n], want.slots[step.optimizer.slots[0]].flat
        )
        np.testing.assert_allclose(losses[n], loss)
    program = record(lambda flat, rows: vmap(taken)(stacked._replace(params=Parameters(flat, layout)), rows))(
        flat, rows
    )
    products = [op for op in program.operations if op.name == "matmul"]
    assert len(products) == 5  # two forward, three backward: all of stacks
    for op in products:
        assert {len(program.values[n].shape) for n in (*op.reads(), *op.results)} == {3}
        assert program.values[op.results[0]].shape[0] == MEMBERS
