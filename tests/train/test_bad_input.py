"""What a user may get wrong: the right class of error, which names what was expected, found, and to be done."""

# ruff: noqa: E501 (a table: each mistake on a line of its own)

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.train.support import class_data, make, value_data
from xpnet import Trainer, losses, nn, optim
from xpnet.errors import BackendError, ConfigError, DataError, XpnetError
from xpnet.train import Callback, accuracy

X, Y = class_data(12)
VALUES = value_data(12)[1]


@dataclasses.dataclass(frozen=True)
class Bad:
    """A mistake, the error's class and a pattern of its message."""

    name: str
    do: Callable[[], Any]
    error: type[XpnetError]
    match: str

    def __str__(self) -> str:
        return self.name


def same_name(outputs, targets):
    return 0.0


def bad_settings() -> list[Bad]:
    def row(name, error, match, **options):
        return Bad(name, lambda: make(**options), error, match)

    class Mean:
        pass

    return [
        row("a model class", ConfigError, r"model: expected .* found <class.*write Dense\(\.\.\.\)", model=nn.Dense),
        row("a list of layers", ConfigError, r"model: .*xpnet\.nn\.Sequential\(\[", model=[nn.Dense(3)]),
        row("a model by name", ConfigError, r"model: expected .* found 'mlp'; make one", model="mlp"),
        row("no model", ConfigError, "model: expected .* found None", model=None),
        row("loss unknown", ConfigError, "loss: .*'hing'; did you mean 'hinge'", loss="hing"),
        row("loss class", ConfigError, "loss: expected a known name, found <class", loss=Mean),
        row("loss list", ConfigError, "loss: expected a known name, found", loss=["hinge"]),
        row("loss none", ConfigError, "loss: expected a known name, found None", loss=None),
        row("optimizer unknown", ConfigError, "optimizer 'adm'; did you mean 'adam'", optimizer="adm"),
        row("optimizer class", ConfigError, r"optimizer: .* such as Adam\(\), found", optimizer=optim.Adam),
        row("optimizer number", ConfigError, "optimizer: expected a name", optimizer=0.1),
        row("backend unknown", BackendError, "backend: .*'nunpy'; did you mean 'numpy'", backend="nunpy"),
        row("device unknown", BackendError, "backend numpy: expected the device 'cpu'", backend="numpy:7"),
        row("float16", ConfigError, "dtype: .*found 'float16'; did you mean 'float64'", dtype="float16"),
        row("a dtype object", ConfigError, "dtype: expected 'float32' or 'float64', found <class", dtype=np.float32),
        row("precision unknown", ConfigError, "precision: .*found 'tf23'; did you mean 'tf32'", precision="tf23"),
        row("precision none", ConfigError, "precision: expected 'float32' or 'tf32', found None", precision=None),
        row("precision elsewhere", ConfigError, "precision: .*only CUDA devices have; leave", precision="tf32", dtype="float32"),
        row("precision of float64", ConfigError, "precision: .*for dtype float64, found 'tf32'", precision="tf32"),
        row("compile unknown", ConfigError, "compile: expected one of the known names, found 'jit'; known: auto, cupy", compile="jit"),
        row("compile flag", ConfigError, "found True; known: auto, cupy", compile=True),
        row("compile for others", ConfigError, "choose 'auto'", compile="numpy", backend="array_api_strict"),
        row("batches unknown", ConfigError, "batches: .*'fix'; did you mean 'fixed'", batches="fix"),
        row("seed negative", ConfigError, r"seed: expected a whole number from 0 .* found -1", seed=-1),
        row("seed fraction", ConfigError, r"seed: .* found 0.5", seed=0.5),
        row("seed none", ConfigError, r"seed: .* found None", seed=None),
        row("metric unknown", ConfigError, "metric: .*'acuracy'; did you mean 'accuracy'", metrics=["acuracy"]),
        row("metric not listed", ConfigError, r"metrics: .* 'accuracy'; write metrics=\[", metrics="accuracy"),
        row("metric function not listed", ConfigError, r"metrics: expected a list, found <func", metrics=accuracy),
        row("metric number", ConfigError, "metric: expected a name or a function, found 3", metrics=[3]),
        row("metric class", ConfigError, "metric: expected a name or a function, found <class", metrics=[Mean]),
        row("metric twice", ConfigError, "metrics: .*'same_name' again", metrics=[same_name, same_name]),
        row("metric loss", ConfigError, "'loss' again", metrics=[_named("loss")]),
        row("metric epoch", ConfigError, "'epoch' again", metrics=[_named("epoch")]),
        row("metric prefix", ConfigError, "'validation_x' again", metrics=[_named("validation_x")]),
        row("callback class", ConfigError, "callbacks: .*an object of it", callbacks=[Callback]),
        row("callback function", ConfigError, "callbacks: expected objects of", callbacks=[print]),
        row("callback not listed", ConfigError, r"callbacks: expected a list.*\[", callbacks=Callback()),
        row("l2 negative", ConfigError, "l2: .* at least 0, or several by name, found -0.1", l2=-0.1),
        row("l2 nan", ConfigError, "l2: expected a finite number", l2=float("nan")),
        row("l2 text", ConfigError, "l2: expected a finite number .* found '0.1'", l2="0.1"),
        row("l2 none", ConfigError, "l2: .* found None", l2=None),
        row("l1 named negative", ConfigError, r"l1: .* at least 0, or several by name, found {'0': -1}", l1={"0": -1}),
        row("max_norm zero", ConfigError, "max_norm: .* above 0, found 0; .* pass None", max_norm=0),
        row("smoothing whole", ConfigError, "label_smoothing: .* below 1, found 1", label_smoothing=1),
        row("smoothing of values", ConfigError, "label_smoothing: .* found squared_error; leave it out",
            loss="squared_error", label_smoothing=0.1),
        row("smoothing of scores", ConfigError, "found multiclass_hinge", loss="multiclass_hinge", label_smoothing=0.1),
        row("noise negative", ConfigError, "gradient_noise: .* at least 0, found -1", gradient_noise=-1),
        row("clip_norm zero", ConfigError, "clip_norm: .* above 0, found 0; .* pass None", clip_norm=0),
        row("clip_value negative", ConfigError, "clip_value: .* above 0, found -1", clip_value=-1),
        row("clip infinite", ConfigError, "clip_norm: .* found inf", clip_norm=float("inf")),
        row("max_steps zero", ConfigError, "max_steps: .* at least 1, found 0", max_steps=0),
        row("max_steps fraction", ConfigError, "max_steps: .* found 1.5", max_steps=1.5),
        row("patience zero", ConfigError, "patience: .* at least 1, found 0", patience=0),
        row("patience flag", ConfigError, "patience: .* found True", patience=True),
        row("min_delta negative", ConfigError, "min_delta: .* at least 0, found -1", min_delta=-1),
        row("restore_best number", ConfigError, "restore_best: expected True or False, found 1", restore_best=1),
        row("progress text", ConfigError, "progress: expected True or False, found 'bar'", progress="bar"),
        Bad("rate zero", lambda: make(optimizer=optim.SGD(0)), ConfigError, "SGD: learning_rate: .* found 0"),
        Bad("rate negative", lambda: make(optimizer=optim.Adam(-1)), ConfigError, "Adam: learning_rate: .*-1"),
        Bad("width zero", lambda: make(model=nn.MLP([0], 3)), ConfigError, "Dense: units: .* at least 1, found 0"),
        Bad("width negative", lambda: make(model=nn.MLP([-4], 3)), ConfigError, "Dense: units: .* found -4"),
    ]  # fmt: skip


def _named(name):
    def metric(outputs, targets):
        return 0.0

    metric.__name__ = name
    return metric


def bad_fits() -> list[Bad]:
    def row(name, error, match, X=X, y=Y, settings=None, **options):
        return Bad(
            name, lambda: make(**(settings or {})).fit(X, y, **({"epochs": 1} | options)), error, match
        )

    def changed(array, place, value, dtype=float):
        array = np.array(array, dtype=dtype)
        array[place] = value
        return array

    one = {"model": nn.MLP([4], 1)}
    values = {"loss": "squared_error", **one}
    binary = {"loss": "binary_cross_entropy", **one}
    hinge = {"loss": "hinge", **one}
    poisson = {"loss": "poisson", **one}
    zero_one = (Y > 0).astype(int)
    return [
        # inputs
        row("X of one dimension", DataError, r"X has shape \(12,\); expected \(batch, features\); X\[:, None\]", X=X[:, 0]),
        row("X and y swapped", DataError, r"X has shape \(12,\).*were X and y swapped", X=Y, y=X),
        row("X of three dimensions", DataError, r"X has shape \(12, 3, 1\).*flattens", X=X[..., None]),
        row("X a number", DataError, r"X has shape \(\)", X=3.0),
        row("X none", DataError, "X holds Python objects", X=None),
        row("X text", DataError, "X holds <U1 values; expected real numbers", X=np.full((12, 3), "a")),
        row("X a name", DataError, "X holds", X="digits"),
        row("X ragged", DataError, "X is no array of numbers", X=[[1.0, 2.0, 3.0]] * 11 + [[1.0]]),
        row("X a dict", DataError, "X holds Python objects", X={"a": 1}),
        row("X objects", DataError, "X holds Python objects", X=np.full((12, 3), None)),
        row("X complex", DataError, "X holds complex128 values", X=X + 1j),
        row("X dates", DataError, "X holds datetime64", X=np.full((12, 3), "2020-01-01", dtype="M8[D]")),
        row("X nan", DataError, r"X\[2, 1\] is nan; expected finite numbers", X=changed(X, (2, 1), np.nan)),
        row("X infinite", DataError, r"X\[0, 0\] is -inf", X=changed(X, (0, 0), -np.inf)),
        row("X beyond float32", DataError, r"X\[1, 2\] is 1e\+200, too large for float32", X=changed(X, (1, 2), 1e200),
            settings={"dtype": "float32"}),
        row("X masked", DataError, "X has masked entries", X=np.ma.masked_less(X, 0)),
        row("X without rows", DataError, r"X has shape \(0, 3\); at least one row", X=X[:0], y=Y[:0]),
        row("X without features", DataError, r"X has shape \(12, 0\); at least one row and one feature", X=X[:, :0]),
        row("X empty list", DataError, r"X has shape \(0,\)", X=[], y=[]),
        row("X a sparse matrix", DataError, r"X: expected an array or a table .* found _Sparse.*X\.toarray\(\)", X=_Sparse()),
        # targets
        row("y none", DataError, "y: expected a target for each row, found None", y=None),
        row("y shorter", DataError, r"X has 12 rows, shape \(12, 3\), but y has 11, shape \(11,\)", y=Y[:11]),
        row("y of three dimensions", DataError, r"y has shape \(12, 1, 1\)", y=Y[:, None, None]),
        row("y text", DataError, "y holds <U1 values.*Encoder", y=np.full(12, "a")),
        row("y nan", DataError, r"y\[3\] is nan", y=changed(Y, 3, np.nan)),
        row("y a number", DataError, r"y has shape \(\)", y=1),
        row("label too large", DataError, r"y\[4\] is 3; .* whole number of 0 to 2", y=changed(Y, 4, 3, int)),
        row("label negative", DataError, r"y\[4\] is -1; expected a class index", y=changed(Y, 4, -1, int)),
        row("label fraction", DataError, r"y\[4\] is 0.5; expected a class index", y=changed(Y, 4, 0.5)),
        row("label beyond int64", DataError, r"y\[4\] is 1e\+30", y=changed(Y, 4, 1e30)),
        row("label beyond 64 bits", DataError, "y holds .*whole numbers beyond 64 bits", y=[2**70] * 12),
        row("label uint64", DataError, r"y\[0\] is 18446744073709551615", y=np.full(12, 2**64 - 1, dtype=np.uint64)),
        row("one-hot too wide", DataError, r"y has shape \(12, 4\); expected \(12, 3\)", y=np.eye(4)[Y]),
        row("one-hot not 0 or 1", DataError, "y: expected probabilities from 0 to 1, found 2.0 in row 0", y=2 * np.eye(3)[Y]),
        row("rows of labels", DataError, "y: expected rows that sum to 1.*found 3.0 in row 0", y=np.ones((12, 3))),
        row("one output for classes", ConfigError, "softmax_cross_entropy: .*at least 2, found 1", settings=one),
        row("0/1 wanted", DataError, "y: expected 0, 1 or probabilities.*found 2 in row 2", settings=binary),
        row("0/1, -1 given", DataError, "y: expected 0, 1 .*found -1 in row 0", y=2 * zero_one - 1, settings=binary),
        row("±1 wanted", DataError, r"y: expected -1 or 1 \(2 y - 1 .*found 0 in row 0", y=zero_one, settings=hinge),
        row("±1, booleans given", DataError, "y: expected -1 or 1.* in row 0", y=zero_one == 1, settings=hinge),
        row("counts wanted", DataError, "y: expected counts that are not negative, found -1", y=-np.ones(12), settings=poisson),
        row("too many values", DataError, r"y has shape \(12, 2\); expected \(12, 1\) for a model with 1", y=np.ones((12, 2)),
            settings=values),
        row("too few values", DataError, r"y has shape \(12,\); expected \(12, 3\)", y=VALUES,
            settings={"loss": "squared_error"}),
        # weights
        row("weight shape", DataError, r"sample_weight has shape \(12, 1\); expected \(12,\)", sample_weight=np.ones((12, 1))),
        row("weight length", DataError, r"X has 12 rows.*sample_weight has 5", sample_weight=np.ones(5)),
        row("weight negative", DataError, r"sample_weight\[0\] is -1", sample_weight=-np.ones(12)),
        row("weight zero", DataError, "sample_weight is zero everywhere", sample_weight=np.zeros(12)),
        row("weight nan", DataError, r"sample_weight\[0\] is nan", sample_weight=np.full(12, np.nan)),
        row("weight text", DataError, "sample_weight holds", sample_weight="balanced"),
        row("class weight name", ConfigError, "class_weight: expected a dict or 'balanced', found 'balance'", class_weight="balance"),
        row("class weight list", ConfigError, "class_weight: expected a dict", class_weight=[1, 2, 3]),
        row("class weight missing", ConfigError, "class_weight: .* none for 2; add 2: 1.0", class_weight={0: 1, 1: 1}),
        row("class weight negative", ConfigError, r"class_weight\[1\]: .* found -1", class_weight={0: 1, 1: -1, 2: 1}),
        row("class weight zero", DataError, "weights: expected a weight above 0", class_weight={0: 0, 1: 0, 2: 0}),
        row("class weight one-hot", ConfigError, r"class_weight: .*\(batch,\), found \(12, 3\)", y=np.eye(3)[Y],
            class_weight="balanced"),
        row("class weight of values", ConfigError, "class_weight: expected a loss for classes, found squared_error", y=VALUES,
            settings=values, class_weight="balanced"),
        # the run
        row("no epochs", ConfigError, "epochs: .* at least 1, found 0", epochs=0),
        row("epochs negative", ConfigError, "epochs: .* found -3", epochs=-3),
        row("epochs fraction", ConfigError, "epochs: .* found 2.0", epochs=2.0),
        row("epochs none", ConfigError, "epochs: .* found None", epochs=None),
        row("epochs flag", ConfigError, "epochs: .* found True", epochs=True),
        row("batch too large", ConfigError, "batch_size: expected at most the 12 training rows, found 13", batch_size=13),
        row("batch larger than what is left", ConfigError, "at most the 9 training rows, found 12", batch_size=12, validation=0.25),
        row("batch zero", ConfigError, "batch_size: .* at least 1, found 0; pass None", batch_size=0),
        row("batch fraction", ConfigError, "batch_size: .* found 0.5", batch_size=0.5),
        row("batch text", ConfigError, "batch_size: .* found 'full'", batch_size="full"),
        # validation
        row("validation one", ConfigError, "validation: expected a number of at least 0 and below 1, found 1", validation=1),
        row("validation negative", ConfigError, "validation: .* found -0.1", validation=-0.1),
        row("validation nan", ConfigError, "validation: .* found nan", validation=float("nan")),
        row("validation flag", ConfigError, "validation: expected a fraction or a pair .* found True", validation=True),
        row("validation array", ConfigError, "validation: expected a fraction or a pair .* found ndarray", validation=X),
        row("validation single", ConfigError, "validation: .* found tuple", validation=(X,)),
        row("validation too much", DataError, "3 validation rows are asked for", validation=0.99, X=X[:3], y=Y[:3]),
        row("validation narrower", DataError, r"validation: X has shape \(12, 2\); expected \(batch, 3\)", validation=(X[:, :2], Y)),
        row("validation lengths", DataError, r"validation: X has 12 rows", validation=(X, Y[:3])),
        row("validation labels", DataError, r"validation: y\[0\] is 3", validation=(X, Y + 3)),
        row("validation nan inside", DataError, r"validation: X\[0, 0\] is nan", validation=(changed(X, (0, 0), np.nan), Y)),
        row("patience alone", ConfigError, "patience: expected a validation set .* pass validation=0.1", settings={"patience": 2}),
        row("restore alone", ConfigError, "restore_best: expected a validation set", settings={"restore_best": True}),
        row("monitor alone", ConfigError, "monitor: expected a validation set",
            settings={"monitor": "validation_accuracy", "metrics": ["accuracy"]}),
        row("min_delta alone", ConfigError, "min_delta: expected a validation set", settings={"min_delta": 0.1}),
        row("r2 of classes", ConfigError, "metrics: expected .* of classes, .* found 'r2'; choose", settings={"metrics": ["r2"]}),
    ]  # fmt: skip


class _Sparse:
    """Has a shape, but is no array."""

    shape = (12, 3)


def bad_uses() -> list[Bad]:
    trained = make()
    trained.fit(X, Y, epochs=1)
    signs = make(loss="multiclass_hinge")
    signs.fit(X, Y, epochs=1)
    untrained = "trainer: expected one that has been trained, found .* call fit"

    def row(name, do, error, match):
        return Bad(name, do, error, match)

    return [
        row("predict before fit", lambda: make().predict(X), ConfigError, untrained),
        row("predict_proba before fit", lambda: make().predict_proba(X), ConfigError, untrained),
        row("outputs before fit", lambda: make().outputs(X), ConfigError, untrained),
        row("evaluate before fit", lambda: make().evaluate(X, Y), ConfigError, untrained),
        row("predict another width", lambda: trained.predict(X[:, :2]), DataError, r"\(12, 2\); expected \(batch, 3\)"),
        row("evaluate another width", lambda: trained.evaluate(X[:, :2], Y), DataError, r"\(12, 2\).*\(batch, 3\)"),
        row("fit another width", lambda: trained.fit(X[:, :2], Y, epochs=9), DataError, r"\(12, 2\).*\(batch, 3\)"),
        row("predict one row", lambda: trained.predict(X[0]), DataError, r"X has shape \(3,\).*X\[None, :\] one row"),
        row("predict nothing", lambda: trained.predict(X[:0]), DataError, r"X has shape \(0, 3\)"),
        row("predict nan", lambda: trained.predict(np.full((1, 3), np.nan)), DataError, r"X\[0, 0\] is nan"),
        row("predict text", lambda: trained.predict([["a", "b", "c"]]), DataError, "X holds <U1"),
        row("evaluate lengths", lambda: trained.evaluate(X, Y[1:]), DataError, "X has 12 rows"),
        row("evaluate labels", lambda: trained.evaluate(X, Y + 1), DataError, r"y\[2\] is 3"),
        row("evaluate without y", lambda: trained.evaluate(X, None), DataError, "y: expected a target"),
        row("evaluate weights", lambda: trained.evaluate(X, Y, np.zeros(12)), DataError, "zero everywhere"),
        row("probabilities of a hinge", lambda: signs.predict_proba(X), ConfigError, "found multiclass_hinge; train with"),
    ]  # fmt: skip


TABLE = [*bad_settings(), *bad_fits(), *bad_uses()]


@pytest.mark.parametrize("bad", TABLE, ids=str)
def test_bad_input(bad):
    with pytest.raises(XpnetError, match=bad.match) as caught:
        bad.do()
    assert type(caught.value) is bad.error


def test_each_name_in_the_table_is_one():
    assert len({bad.name for bad in TABLE}) == len(TABLE)


def test_float64_on_a_device_without_it():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    del strict
    with pytest.raises(BackendError, match="found 'float64'; choose another dtype or device"):
        make(backend="array_api_strict:no_float64")


def test_a_device_that_is_not_there():
    with pytest.raises(BackendError, match=r"cannot work here|expected one of the devices"):
        make(backend="cupy:99")


def test_a_dtype_that_a_tensor_cannot_carry_to_the_host():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(DataError, match="X: expected an array or a table of numbers, found Tensor"):
        make().fit(torch.ones(12, 3, dtype=torch.bfloat16), Y, epochs=1)


def test_after_a_refusal_the_same_trainer_can_train():
    trainer = make()
    for options in ({"epochs": 0}, {"epochs": 1, "batch_size": 99}, {"epochs": 1, "validation": 3}):
        with pytest.raises(ConfigError):
            trainer.fit(X[:, :2], Y, **options)
    with pytest.raises(DataError):
        trainer.fit(X[:, :2], Y + 1, epochs=1)
    trainer.fit(X, Y, epochs=1)
    assert trainer.epoch == 1


def test_a_loss_that_gives_no_number():
    def rows(outputs, targets, *, sample_weight=None):
        return losses.softmax_cross_entropy(outputs, targets) * np.ones(3)

    with pytest.raises(XpnetError, match=r"loss rows: expected a 0-d array .*, found shape \(3,\)"):
        make(loss=rows).fit(X, Y, epochs=1)


def test_arguments_that_do_not_exist():
    with pytest.raises(TypeError, match="learning_rate"):
        Trainer(nn.Dense(3), "hinge", learning_rate=0.1)
    with pytest.raises(TypeError, match="epoch"):
        make().fit(X, Y, epoch=3)
