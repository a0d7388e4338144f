"""Diagnostics: the numbers of each layer, when they are taken, and that training does not feel them."""

from __future__ import annotations

import itertools
import json
import logging

import numpy as np
import pytest

from tests.support import host, widest
from tests.train.support import assert_same_training, class_data, make, value_data
from xpnet import Trainer, nn, optim
from xpnet.backends import Backend
from xpnet.errors import ConfigError
from xpnet.train import Callback, Diagnostics
from xpnet.train.diagnostics.callback import affordable
from xpnet.train.diagnostics.layer_measures import measure
from xpnet.train.rows import Rows
from xpnet.train.step import Step, step_once

X, Y = class_data(60)
COLUMNS = ["layer", "weight_norm", "gradient_norm", "activation_rms", "dead", "saturated", "update_ratio"]
EVERYTHING = {
    "model": nn.MLP([8, 6], 3, dropout=0.3, batch_norm=True),
    "l2": 0.01,
    "clip_norm": 1.0,
    "optimizer": optim.Adam(optim.Inverse(0.05)),
}


def started(backend="numpy", dtype="float64", **options):
    """Return a trainer with variables, the optimizer's state and an objective, and no step taken."""
    trainer = make(backend=backend, dtype=dtype, **options)
    trainer.begin((3,))
    return trainer


def rows_on(trainer, X=X, y=Y, weight=None):
    backend, dtype = trainer.backend, trainer.dtype
    y = backend.asarray(y, dtype=None if y.dtype.kind == "i" else dtype)
    weight = None if weight is None else backend.asarray(weight, dtype=dtype)
    return Rows(backend.asarray(X, dtype=dtype), y, weight)


def test_numbers_of_a_network_by_the_formulas_of_back_propagation(backend):
    """L = mean ½-free squared error of w₂·relu(X W₁ + b₁), all gradients written out."""
    X, y = value_data(40)
    dtype = widest(backend)
    trainer = started(backend, dtype, model=nn.MLP([5], 1), loss="squared_error", optimizer=optim.SGD(0.1))
    p = {name: host(value) for name, value in trainer.variables.params.items()}
    z = X @ p["0.weight"] + p["0.bias"]
    h = np.maximum(z, 0)
    out = h @ p["2.weight"] + p["2.bias"]
    d_out = 2 * (out - y[:, None]) / len(X)
    d_h = d_out @ p["2.weight"].T
    d_z = d_h * (z > 0)
    gradients = [(X.T @ d_z, d_z.sum(0)), None, (h.T @ d_out, d_out.sum(0))]
    measured = measure(trainer.setup, trainer.state, rows_on(trainer, X, y), rows_on(trainer, X, y))
    close = {"rel": 1e-9 if dtype == "float64" else 1e-4}

    def norm(*arrays):
        return np.sqrt(sum(np.sum(np.square(a)) for a in arrays))

    assert [layer.layer for layer in measured.layers] == ["0 (Dense)", "1 (ReLU)", "2 (Dense)"]
    for i, (layer, value, cotangent) in enumerate(
        zip(measured.layers, (z, h, out), (d_z, d_h, d_out), strict=True)
    ):
        assert layer.activation_rms == pytest.approx(np.sqrt(np.mean(value**2)), **close)
        assert layer.signal == pytest.approx(norm(cotangent), **close)
        if gradients[i] is None:
            assert (layer.parameters, layer.weight_norm, layer.gradient_norm) == (0, 0.0, 0.0)
            assert layer.update_ratio is None
            assert layer.dead == pytest.approx(np.mean((h == 0).all(axis=0)))
            continue
        weight = norm(p[f"{i}.weight"], p[f"{i}.bias"])
        assert layer.parameters == p[f"{i}.weight"].size + p[f"{i}.bias"].size
        assert layer.weight_norm == pytest.approx(weight, **close)
        assert layer.gradient_norm == pytest.approx(norm(*gradients[i]), **close)
        assert layer.update_ratio == pytest.approx(0.1 * norm(*gradients[i]) / weight, **close)
        assert layer.dead is None
        assert layer.saturated is None
    assert measured.input_signal == pytest.approx(norm(d_z @ p["0.weight"].T), **close)
    assert measured.loss == pytest.approx(np.mean((out[:, 0] - y) ** 2), **close)
    assert measured.constant_loss == pytest.approx(np.mean((out.mean() - y) ** 2), **close)


def test_gradients_of_a_network_of_many_kinds_of_layers_are_pytorchs():
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    inner = nn.Sequential(nn.Dense(6), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.5))
    model = nn.Sequential(inner, nn.Dense(4, bias=False), nn.Sigmoid(), nn.LayerNorm(), nn.Dense(3))
    trainer = started(model=model)
    weight = np.linspace(0.5, 2.0, len(X))
    measured = measure(trainer.setup, trainer.state, rows_on(trainer, weight=weight), rows_on(trainer))
    p = {
        name: torch.tensor(host(value), requires_grad=True)
        for name, value in trainer.variables.params.items()
    }
    f = torch.nn.functional
    outputs, x = {}, torch.tensor(X)

    def keep(name, x):
        x.retain_grad()
        outputs[name] = x
        return x

    x = keep("0.0 (Dense)", x @ p["0.0.weight"] + p["0.0.bias"])
    x = keep("0.1 (BatchNorm)", f.batch_norm(x, None, None, p["0.1.scale"], p["0.1.shift"], training=True))
    x = keep("0.2 (Tanh)", torch.tanh(x))
    x = keep("0.3 (Dropout)", x * 1)
    x = keep("1 (Dense)", x @ p["1.weight"])
    x = keep("2 (Sigmoid)", torch.sigmoid(x))
    x = keep("3 (LayerNorm)", f.layer_norm(x, (4,), p["3.scale"], p["3.shift"]))
    x = keep("4 (Dense)", x @ p["4.weight"] + p["4.bias"])
    rows = f.cross_entropy(x, torch.tensor(Y), reduction="none")
    ((rows * torch.tensor(weight)).sum() / weight.sum()).backward()
    assert [layer.layer for layer in measured.layers] == list(outputs)
    for layer in measured.layers:
        out = outputs[layer.layer]
        assert layer.signal == pytest.approx(float(out.grad.norm()), rel=1e-6)
        assert layer.activation_rms == pytest.approx(float(out.detach().square().mean().sqrt()), rel=1e-6)
        place = layer.layer.split()[0]
        own = [value.grad for name, value in p.items() if name.rpartition(".")[0] == place]
        assert layer.gradient_norm == pytest.approx(
            float(sum(g.square().sum() for g in own)) ** 0.5, rel=1e-6
        )


def test_a_model_of_one_layer():
    diagnostics = Diagnostics()
    make(model=nn.Dense(3), callbacks=[diagnostics]).fit(X, Y, epochs=1)
    (layer,) = diagnostics.rows[-1]["layers"]
    assert layer["layer"] == "0 (Dense)"
    assert layer["weight_norm"] > 0 < layer["update_ratio"]


@pytest.mark.parametrize(
    ("activation", "biases", "dead", "saturated"),
    [
        # on inputs that are all 0 the biases are what the activation is given
        (nn.ReLU(), [-1.0, 0.0, 2.0, -3.0], 0.75, None),
        (nn.LeakyReLU(), [-1.0, 0.0, 2.0, -3.0], None, None),
        (nn.Sigmoid(), [5.2, 5.4, -5.2, -5.4], None, 0.5),  # σ(5.293) = 0.995
        (nn.Tanh(), [2.6, 2.7, -2.7, 0.0], None, 0.5),  # tanh(2.647) = 0.99
    ],
)
def test_dead_and_saturated_shares(activation, biases, dead, saturated):
    def bias(key, shape):
        return np.asarray(biases)

    trainer = started(model=nn.Sequential(nn.Dense(4, bias_init=bias), activation, nn.Dense(3)))
    layer = measure(trainer.setup, trainer.state, rows_on(trainer, 0 * X), rows_on(trainer)).layers[1]
    assert (layer.dead, layer.saturated) == (dead, saturated)


def test_the_step_is_the_next_one_of_the_training():
    """With penalty, clipping, schedule and the optimizer's state, on rows of the size of a batch."""
    options = {**EVERYTHING, "model": nn.MLP([8], 3)}
    trainer = make(**options)
    trainer.fit(X, Y, epochs=3, batch_size=20)
    first = rows_on(trainer, X[:20], Y[:20])
    layers = measure(trainer.setup, trainer.state, rows_on(trainer), first).layers
    before = {name: host(value) for name, value in trainer.variables.params.items()}
    step = Step(trainer.setup, trainer.variables.params.layout)
    step_once(step, trainer.state, first, trainer.setup.step_key(trainer.step + 1))
    after = {name: host(value) for name, value in trainer.variables.params.items()}
    for place, layer in (("0", layers[0]), ("2", layers[2])):
        names = [f"{place}.weight", f"{place}.bias"]
        change = np.concatenate([(after[name] - before[name]).ravel() for name in names])
        weight = np.concatenate([before[name].ravel() for name in names])
        assert layer.update_ratio == pytest.approx(np.linalg.norm(change) / np.linalg.norm(weight))


@pytest.mark.parametrize("options", [{}, EVERYTHING, {**EVERYTHING, "rollback": False}])
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_training_gives_the_same_bits_with_and_without(options, compile):
    fit = {"epochs": 6, "batch_size": 13, "validation": 0.2, "sample_weight": np.linspace(0.5, 1.5, 60)}
    without = make(compile=compile, **options)
    without.fit(X, Y, **fit)
    diagnostics = Diagnostics(rows=20)
    trainer = make(compile=compile, callbacks=[diagnostics], **options)
    trainer.fit(X, Y, **fit)
    assert_same_training(trainer, without)
    assert [row["epoch"] for row in diagnostics.rows] == list(range(7))


def test_on_every_backend(backend):
    # not Adam: gradients of biases before BatchNorm are 0 but for rounding, and its steps ask for signs alone
    options = {"model": nn.MLP([5], 3, batch_norm=True), "optimizer": optim.SGD(0.1), "backend": backend,
               "dtype": "float32"}  # fmt: skip
    without = make(**options)
    without.fit(X, Y, epochs=1, batch_size=20)
    diagnostics, reference = Diagnostics(rows=32), Diagnostics(rows=32)
    trainer = make(callbacks=[diagnostics], **options)
    trainer.fit(X, Y, epochs=1, batch_size=20)
    assert np.array_equal(host(trainer.variables.params.flat), host(without.variables.params.flat))
    make(callbacks=[reference], **{**options, "backend": "numpy"}).fit(X, Y, epochs=1, batch_size=20)
    for row, expected in zip(diagnostics.rows, reference.rows, strict=True):
        for one, other in zip(row["layers"], expected["layers"], strict=True):
            assert one.pop("layer") == other.pop("layer")
            assert [value is None for value in one.values()] == [value is None for value in other.values()]
            numbers = [value for value in other.values() if value is not None]
            got = [value for value in one.values() if value is not None]
            assert got == pytest.approx(numbers, rel=1e-3, abs=1e-5)


def test_one_transfer_at_a_log_point_and_none_between(monkeypatch):
    counts = {"asarray": 0, "to_host": 0, "synchronize": 0}
    for name in counts:
        original = getattr(Backend, name)

        def counted(self, *args, _original=original, _name=name, **options):
            counts[_name] += 1
            return _original(self, *args, **options)

        monkeypatch.setattr(Backend, name, counted)

    def totals(**options):
        seen = []

        class Watching(Callback):
            def on_epoch_end(self, trainer, row):
                seen.append(dict(counts))

        make(callbacks=[*options.get("callbacks", ()), Watching()]).fit(X, Y, epochs=6, batch_size=20)
        return [{n: b[n] - a[n] for n in counts} for a, b in itertools.pairwise(seen)]

    plain = totals()
    for epoch, (got, want) in enumerate(zip(totals(callbacks=[Diagnostics(3)]), plain, strict=True), start=2):
        assert got == {**want, "to_host": want["to_host"] + (epoch % 3 == 0)}


@pytest.mark.parametrize(
    ("every", "epochs", "points"),
    [(1, 3, [0, 1, 2, 3]), (2, 5, [0, 2, 4, 5]), (10, 5, [0, 5]), (5, 5, [0, 5])],
)
def test_log_points(every, epochs, points):
    diagnostics = Diagnostics(every)
    make(callbacks=[diagnostics]).fit(X, Y, epochs=epochs)
    assert [row["epoch"] for row in diagnostics.rows] == points
    for row in diagnostics.rows:
        assert list(row) == ["epoch", "layers", "verdicts"]
        assert all(list(layer) == COLUMNS for layer in row["layers"])


def test_a_fit_that_goes_on_continues_the_rows(tmp_path):
    path = tmp_path / "d.jsonl"
    straight, parts = Diagnostics(2), Diagnostics(2, path=path)
    make(callbacks=[straight]).fit(X, Y, epochs=8, batch_size=20)
    trainer = make(callbacks=[parts])
    for epochs in (4, 8):
        trainer.fit(X, Y, epochs=epochs, batch_size=20)
    assert parts.rows == straight.rows
    assert [json.loads(line) for line in path.read_text().splitlines()] == straight.rows


@pytest.mark.parametrize("torn", [False, True])
def test_a_file_is_continued_where_the_checkpoint_is(torn, tmp_path):
    """Rows of epochs that were lost, and a line that was cut off, are measured anew."""
    path = tmp_path / "d.jsonl"
    straight = Diagnostics()
    make(callbacks=[straight], **EVERYTHING).fit(X, Y, epochs=5, batch_size=20)
    trainer = make(callbacks=[Diagnostics(path=path)], **EVERYTHING)
    trainer.fit(X, Y, epochs=2, batch_size=20)
    trainer.save(tmp_path)
    trainer.fit(X, Y, epochs=4, batch_size=20)
    if torn:
        path.write_text(path.read_text()[:-40])
    resumed = Diagnostics(path=path)
    loaded = Trainer.load(tmp_path, "numpy", callbacks=[resumed])
    loaded.fit(X, Y, epochs=5, batch_size=20)
    assert [json.loads(line) for line in path.read_text().splitlines()] == straight.rows == resumed.rows


def test_a_training_that_begins_writes_the_file_anew(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"epoch": 0, "layers": [], "verdicts": []}\nsomething else\n')
    diagnostics = Diagnostics(path=path)
    make(callbacks=[diagnostics]).fit(X, Y, epochs=2)
    assert [json.loads(line) for line in path.read_text().splitlines()] == diagnostics.rows


def test_a_file_that_cannot_be_written(tmp_path, caplog):
    with pytest.raises(ConfigError, match=r"path: expected a file in a folder that exists, found '.*nowhere"):
        make(callbacks=[Diagnostics(path=tmp_path / "nowhere" / "d.jsonl")]).fit(X, Y, epochs=1)
    with pytest.raises(OSError, match="Is a directory"):
        make(callbacks=[Diagnostics(path=tmp_path)]).fit(X, Y, epochs=1)
    path = tmp_path / "d.jsonl"

    class Removing(Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] == 1:
                path.unlink()
                path.mkdir()

    diagnostics = Diagnostics(path=path)
    make(callbacks=[diagnostics, Removing()]).fit(X, Y, epochs=3)
    assert [row["epoch"] for row in diagnostics.rows] == [0, 1, 2, 3]
    assert [record.getMessage() for record in caplog.records] == [
        f"diagnostics are not written any more: '{path}': Is a directory; expected a file: correct the path"
    ]


def test_each_verdict_is_logged_once(caplog):
    diagnostics = Diagnostics()
    with caplog.at_level(logging.WARNING, "xpnet"):
        make(model=nn.MLP([4], 3, weight_init="zeros"), callbacks=[diagnostics]).fit(X, Y, epochs=4)
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told.count("identical units in 0 (Dense), before the first epoch") == 1
    assert len([line for line in told if line.startswith("identical units")]) == 1
    assert all([v["kind"] for v in row["verdicts"]] == ["identical units"] for row in diagnostics.rows)
    (verdict,) = diagnostics.verdicts
    assert (verdict["epoch"], verdict["kind"], verdict["layer"]) == (0, "identical units", "0 (Dense)")


def test_numbers_that_are_not_finite_are_none(tmp_path):
    """A file of JSON has no infinity: the square of a float32 number may be one."""
    path = tmp_path / "d.jsonl"
    trainer = make(
        model=nn.MLP([], 1), loss="absolute_error", optimizer="sgd", dtype="float32",
        callbacks=[Diagnostics(path=path)],
    )  # fmt: skip
    trainer.fit(np.full((4, 3), 1e25), np.zeros(4), epochs=1)
    (layer,) = json.loads(path.read_text().splitlines()[0])["layers"]
    assert layer["activation_rms"] is None
    assert layer["weight_norm"] > 0


@pytest.mark.parametrize(("options", "what"), [({"every": 0}, "every"), ({"rows": 1.5}, "rows")])
def test_settings_that_cannot_be_meant(options, what):
    with pytest.raises(ConfigError, match=rf"Diagnostics: {what}: expected a whole number of at least 1"):
        Diagnostics(**options)


def test_a_few_points_for_short_trainings_and_many_for_long_ones():
    assert affordable(1_000, 10, 32, 128) == 4
    points = [affordable(20_000, steps, 64, 128) for steps in (10**3, 10**4, 10**5)]
    assert points == sorted(points)
    assert points[-1] > 100


def test_a_last_point_wherever_the_training_ends():
    diagnostics = Diagnostics(every=50)
    trainer = make(patience=2, callbacks=[diagnostics])
    trainer.fit(X, Y, epochs=400, batch_size=8, validation=(X[:8], (Y[:8] + 1) % 3))
    assert trainer.epoch < 50
    assert [row["epoch"] for row in diagnostics.rows] == [0, trainer.epoch]


def test_no_verdict_by_a_sample_without_the_rows_that_count():
    """A few rows make nearly all of the variance: on the others a network is no better than a constant."""
    random = np.random.default_rng(0)
    flag = np.zeros(1500)
    flag[random.choice(1500, 15, replace=False)] = 1.0
    inputs = np.stack([random.normal(size=1500), flag], axis=1)
    values = np.where(flag == 1, 30.0, random.normal(size=1500))
    diagnostics = Diagnostics(every=10, rows=64)
    trainer = Trainer(
        nn.MLP([32], 1), "squared_error", optim.Adam(1e-2), backend="numpy", metrics=["r2"],
        callbacks=[diagnostics], progress=False,
    )  # fmt: skip
    trainer.fit((inputs - inputs.mean(0)) / inputs.std(0), values / values.std(), epochs=40, batch_size=64)
    assert trainer.history["r2"][-1] > 0.89
    assert diagnostics.verdicts == []
