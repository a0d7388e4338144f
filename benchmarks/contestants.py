"""Who is timed: each contestant makes, for a work, a function that trains one epoch."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.works import Work

__all__ = ["CONTESTANTS", "missing"]

Epoch = Callable[[], None]


def _floor(work: Work) -> Epoch:
    """Only the matrix products of the step, into buffers: no trainer on NumPy can be faster."""
    draw = np.random.default_rng(1)
    products = []
    for number, (n, k) in enumerate(zip(work.sizes, work.sizes[1:], strict=False)):
        x, w, y = (draw.normal(size=s).astype(np.float32) for s in ((work.batch, n), (n, k), (work.batch, k)))
        products += [(x, w, np.empty_like(y)), (x.T, y, np.empty_like(w))]
        if number:
            products.append((y, w.T, np.empty_like(x)))

    def epoch() -> None:
        for _ in range(work.steps):
            for a, b, out in products:
                np.matmul(a, b, out=out)

    return epoch


def _xpnet(work: Work) -> Epoch:
    from xpnet import Trainer, nn

    X, y = work.data()
    model = nn.MLP(work.sizes[1:-1], work.sizes[-1], activation=work.activation)
    trainer = Trainer(model, work.loss, "adam", backend="numpy", progress=False)
    return lambda: trainer.fit(X, y, epochs=trainer.epoch + 1, batch_size=work.batch) and None


def _sklearn(work: Work) -> Epoch:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y = work.data()
    activation = {"relu": "relu", "sigmoid": "logistic"}[work.activation]
    options = {
        "hidden_layer_sizes": work.sizes[1:-1],
        "activation": activation,
        "batch_size": work.batch,
        "alpha": 0,
    }
    if work.loss == "squared_error":
        regressor = MLPRegressor(**options)
        target = y[:, 0] if y.shape[1] == 1 else y
        return lambda: regressor.partial_fit(X, target) and None
    classifier = MLPClassifier(**options)
    classes = np.arange(work.sizes[-1])
    return lambda: classifier.partial_fit(X, y, classes=classes) and None


def _torch(work: Work) -> Epoch:
    import torch

    torch.manual_seed(0)
    X, y = (torch.as_tensor(a) for a in work.data())
    activation = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[work.activation]
    layers: list[torch.nn.Module] = []
    for n, k in zip(work.sizes, work.sizes[1:], strict=False):
        layers += [torch.nn.Linear(n, k), activation()]
    model = torch.nn.Sequential(*layers[:-1])
    loss = torch.nn.MSELoss() if work.loss == "squared_error" else torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> None:
        order = torch.randperm(len(X))
        for rows in order.split(work.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(model(X[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def _jax(work: Work) -> Epoch:
    """jax.jit of the whole step, called once a step."""
    import jax
    import jax.numpy as jnp

    X, y = (jnp.asarray(a) for a in work.data())
    draw = np.random.default_rng(0)
    activation = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[work.activation]
    params = [
        (jnp.asarray(draw.normal(size=(n, k)).astype(np.float32) / n**0.5), jnp.zeros(k, dtype=jnp.float32))
        for n, k in zip(work.sizes, work.sizes[1:], strict=False)
    ]
    state = {
        "p": params,
        "m": jax.tree.map(jnp.zeros_like, params),
        "v": jax.tree.map(jnp.zeros_like, params),
        "t": jnp.zeros((), dtype=jnp.float32),
    }

    def objective(params, x, target):
        for w, b in params[:-1]:
            x = activation(x @ w + b)
        out = x @ params[-1][0] + params[-1][1]
        if work.loss == "squared_error":
            return jnp.mean((out - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), target[:, None], axis=1))

    @jax.jit
    def step(state, rows):
        g = jax.grad(objective)(state["p"], X[rows], y[rows])
        t = state["t"] + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["v"], g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), state["p"], m, v)
        return {"p": p, "m": m, "v": v, "t": t}

    def epoch() -> None:
        nonlocal state
        order = np.random.default_rng().permutation(len(X))
        for i in range(0, len(X), work.batch):
            state = step(state, order[i : i + work.batch])
        jax.block_until_ready(state["p"])

    return epoch


CONTESTANTS: dict[str, tuple[str | None, Callable[[Work], Epoch]]] = {
    "matrix products": (None, _floor),
    "xpnet": (None, _xpnet),
    "scikit-learn": ("sklearn", _sklearn),
    "PyTorch eager": ("torch", _torch),
    "JAX, jit a step": ("jax", _jax),
}


def missing(name: str) -> str | None:
    """Return why a contestant cannot take part, or None."""
    warnings.simplefilter("ignore")  # peers warn about convergence
    module = CONTESTANTS[name][0]
    return f"{module} is not installed" if module and importlib.util.find_spec(module) is None else None
