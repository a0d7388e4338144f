"""PyTorch: eager, compiled, and on CUDA captured as a graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["compiled", "eager", "graphed", "loaded", "loaded_compiled"]

_FASTEST = ("fused", "foreach")  # where there is a fused rule it is the fastest way, on both devices
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def eager(work: Work, optimizer: Optimizer, device: str, ways: Sequence[str] = _FASTEST) -> Training:
    """Call by call; ``ways`` in which the optimizer may run, the first of them that it has."""
    model, loss, update, options = _begin(work, optimizer, device, ways)
    X, y = _tensors(work, device)

    # index_select gathers faster than X[rows]
    def objective(rows: torch.Tensor) -> torch.Tensor:
        return loss(model(X.index_select(0, rows)), y.index_select(0, rows))

    return _shuffled(work, device, model, update, objective, options)


def compiled(work: Work, optimizer: Optimizer, device: str, mode: str | None = None) -> Training:
    """``torch.compile`` of all up to the loss, with its backward pass; the optimizer is fused anyway."""
    model, loss, update, options = _begin(work, optimizer, device)
    X, y = _tensors(work, device)

    def objective(rows: torch.Tensor) -> torch.Tensor:
        return loss(model(X.index_select(0, rows)), y.index_select(0, rows))

    return _shuffled(work, device, model, update, torch.compile(objective, mode=mode), options)


def graphed(work: Work, optimizer: Optimizer, device: str) -> Training:
    """The whole step captured as one CUDA graph by hand; each replay gets its row numbers copied in."""
    capturable = {} if optimizer.name in ("sgd", "momentum", "nesterov", "adagrad") else {"capturable": True}
    model, loss, update, options = _begin(work, optimizer, device, _FASTEST, **capturable)
    X, y = _tensors(work, device)
    batch = torch.arange(work.batch, device=device)

    def step() -> None:
        loss(model(X.index_select(0, batch)), y.index_select(0, batch)).backward()
        update.step()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            update.zero_grad(set_to_none=True)
            step()
    torch.cuda.current_stream().wait_stream(aside)
    update.zero_grad(set_to_none=True)  # the capture makes gradients of its own, which replays overwrite
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(work.rows, device=device).split(work.batch):
                batch.copy_(rows)
                graph.replay()
        torch.cuda.synchronize()

    return Training(run, lambda: _weights(model), options)


def loaded(work: Work, optimizer: Optimizer, device: str, ways: Sequence[str] = _FASTEST) -> Training:
    """Eager, with batches from a ``DataLoader``."""
    return _loaded(work, optimizer, device, lambda objective: objective, ways)


def loaded_compiled(work: Work, optimizer: Optimizer, device: str, mode: str | None = None) -> Training:
    """Compiled, with batches from a ``DataLoader``."""
    return _loaded(work, optimizer, device, lambda objective: torch.compile(objective, mode=mode))


def _loaded(
    work: Work,
    optimizer: Optimizer,
    device: str,
    compile: Callable[[Any], Any],
    ways: Sequence[str] = _FASTEST,
) -> Training:
    from torch.utils.data import DataLoader, TensorDataset

    model, loss, update, options = _begin(work, optimizer, device, ways)
    objective = compile(lambda x, targets: loss(model(x), targets))
    inputs, targets = (torch.from_numpy(array) for array in work.data())
    loader = DataLoader(TensorDataset(inputs, targets), work.batch, shuffle=True)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x, y in loader:
                update.zero_grad(set_to_none=True)
                objective(x.to(device), y.to(device)).backward()
                update.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return Training(run, lambda: _weights(model), options)


def _begin(
    work: Work, optimizer: Optimizer, device: str, ways: Sequence[str] = _FASTEST, **further: Any
) -> tuple[Any, Any, Any, str]:
    """Return model, loss, optimizer, and the way in which the optimizer runs."""
    activation = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[work.activation]
    layers: list[torch.nn.Module] = []
    for weight, bias in work.weights():
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, activation()]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    loss = torch.nn.CrossEntropyLoss() if work.classifies else torch.nn.MSELoss()
    options: dict[str, Any] = {"lr": optimizer.learning_rate, **further}
    if optimizer.momentum:
        options |= {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov}
    for way in ways:
        with contextlib.suppress(RuntimeError, TypeError):
            made = _OPTIMIZERS[optimizer.name](model.parameters(), **options, **{way: True})
            return model, loss, made, f"{way}=True"
    return model, loss, _OPTIMIZERS[optimizer.name](model.parameters(), **options), ""


def _tensors(work: Work, device: str) -> Iterator[torch.Tensor]:
    return (torch.from_numpy(array).to(device) for array in work.data())


def _shuffled(
    work: Work, device: str, model: Any, update: Any, objective: Callable[..., Any], note: str
) -> Training:
    def run(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(work.rows, device=device).split(work.batch):
                update.zero_grad(set_to_none=True)
                objective(rows).backward()
                update.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return Training(run, lambda: _weights(model), note)


def _weights(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    arrays = [parameter.detach().cpu().numpy().copy() for parameter in model.parameters()]
    return [(weight.T, bias) for weight, bias in zip(arrays[::2], arrays[1::2], strict=True)]
