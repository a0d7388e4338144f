"""Scalings of numbers, forms of categories and clamped targets: agreement with scikit-learn and pytabkit."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from tests.cli.mutated_files import _mutated_json
from xpnet.data import Encoder
from xpnet.data.columns import ONE_HOTS, SCALINGS, Blocks
from xpnet.data.columns.numeric import Numeric
from xpnet.data.columns.scaling import normal_quantile
from xpnet.errors import CheckpointError, ConfigError, DataError, XpnetError
from xpnet.schema import parse
from xpnet.tabular.settings import Settings, fields_of

pl = pytest.importorskip("polars", reason="the encoder needs polars")

ROWS = 403
DRAW = np.random.default_rng(0)
Y = DRAW.normal(size=ROWS)

NUMBERS = {
    "normal": DRAW.normal(3.0, 5.0, ROWS),
    "tiny": DRAW.normal(size=ROWS) * 1e-6,
    "heavy tails": DRAW.standard_t(2.5, ROWS),
    "whole": np.append(DRAW.integers(0, 6, ROWS - 2), [-1, 6]).astype(float),
    "quartiles coincide": np.where(DRAW.random(ROWS) < 0.9, 2.0, DRAW.random(ROWS) * 8),
    "truth values": DRAW.integers(0, 2, ROWS).astype(float),
    "constant": np.full(ROWS, 7.0),
}


def fitted(cells: Any, **encoding: Any) -> Encoder:
    frame = pl.DataFrame({"x": cells, "y": Y[: len(cells)]})
    return Encoder.fit(frame, "y", use=["x"], task="regression", **encoding)


def encoded(encoder: Encoder, cells: Any, **policies: Any) -> np.ndarray:
    X: np.ndarray = encoder.encode(pl.DataFrame({"x": cells}), **policies).X
    return X


# ------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("case", NUMBERS)
def test_robust_scaling(case: str) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is the outside truth")
    x, encoder = NUMBERS[case], fitted(NUMBERS[case], scaling="robust")
    later = np.append(x, [x.min() - np.ptp(x), x.max() + np.ptp(x)])
    z = preprocessing.RobustScaler().fit(x[:, None]).transform(later[:, None])[:, 0]
    if case == "quartiles coincide":  # scikit-learn does not divide then
        z /= np.ptp(x) / 2
    z = z / np.sqrt(1 + (z / 3) ** 2)
    np.testing.assert_allclose(encoded(encoder, later)[:, 0], z, rtol=1e-12, atol=1e-12)


def test_robust_scaling_never_overflows() -> None:
    encoder = fitted([*(k * 1e307 for k in range(-10, 11)), 5e-324, 5e-324], scaling="robust")
    assert np.abs(encoded(encoder, [-1e308, 0.0, 1e308, np.inf])).max() <= 3.0


@pytest.mark.parametrize(
    ("case", "rows"),
    [("normal", 5), ("normal", ROWS), ("heavy tails", 40_000), ("whole", ROWS), ("whole", 40_000)],
)
def test_quantile_scaling_agrees_with_scikit_learn(case: str, rows: int) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is the outside truth")
    x = np.resize(NUMBERS[case], rows)
    # ties inside alone, not at the ends
    x = np.append(x, [-1.5, 6.5]) if case == "whole" else x + np.arange(rows) * 1e-4
    count = min(len(x), max(10, min(1000, len(x) // 30)))
    scaler = preprocessing.QuantileTransformer(
        n_quantiles=count, output_distribution="normal", subsample=None
    ).fit(x[:, None])
    encoder = Encoder.fit(pl.DataFrame({"x": x, "y": np.arange(len(x)) / 7}), "y", scaling="quantile")
    assert len(encoder.columns[0].scaling.quantiles) == count
    later = np.concatenate([x, np.linspace(x.min() - 1, x.max() + 1, 101)])
    expected = scaler.transform(later[:, None])[:, 0]
    np.testing.assert_allclose(encoded(encoder, later)[:, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["truth values", "quartiles coincide", "whole"])
def test_ties_at_the_ends_are_where_noise_moves_them(case: str) -> None:
    """TabM's recipe fits scikit-learn's transformer on cells with noise; here no draw is needed."""
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is the outside truth")
    x = np.resize(NUMBERS[case], 40_000)
    noise = np.random.default_rng(1).normal(0.0, 1e-5, len(x))
    scaler = preprocessing.QuantileTransformer(
        n_quantiles=1000, output_distribution="normal", subsample=None
    ).fit((x + noise)[:, None])
    frame = pl.DataFrame({"x": x, "y": np.arange(len(x)) / 7})
    found = encoded(Encoder.fit(frame, "y", scaling="quantile"), x)[:, 0]
    np.testing.assert_allclose(found, scaler.transform(x[:, None])[:, 0], rtol=0, atol=0.1)


def test_normal_quantile() -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is the outside truth")
    p = np.concatenate([np.logspace(-7, -0.31, 1000), 1 - np.logspace(-7, -0.31, 1000), [0.5, 0.075, 0.925]])
    np.testing.assert_allclose(normal_quantile(p), stats.norm.ppf(p), rtol=2e-15, atol=1e-15)


# scaling, policy: what a missing cell becomes, in the terms of the training cells
FILLS = {
    ("robust", "impute"): np.median,
    ("robust", "mean"): np.mean,
    ("quantile", "impute"): np.median,
    ("quantile", "mean"): np.mean,
}


@pytest.mark.parametrize(("scaling", "missing"), FILLS)
def test_missing_and_absurd_numbers(scaling: str, missing: str) -> None:
    x = NUMBERS["heavy tails"]
    cells = [None, *x.tolist(), 1e12]
    frame = pl.DataFrame({"x": cells, "y": [*Y, 0.5, 1.5]})
    found = Encoder.fit(frame, "y", scaling=scaling, missing=missing)
    plain = fitted(x, scaling=scaling)
    expected = encoded(plain, [FILLS[scaling, missing](x), *x, x.max()])[:, 0]
    X = found.encode(frame).X
    # the median is that of all cells, an absurd one among them
    np.testing.assert_allclose(X[:, 0], expected, rtol=0, atol=0.02 if missing == "impute" else 1e-12)
    assert X.shape[1] == (2 if missing == "impute" else 1)
    assert missing != "impute" or X[:, 1].tolist() == [1.0] + [0.0] * (ROWS + 1)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_many_columns_are_scaled_as_each_alone(scaling: str) -> None:
    frame = pl.DataFrame({**NUMBERS, "holes": [None, 1e12, *NUMBERS["normal"][2:]], "y": Y})
    frame = frame.with_columns(day=pl.from_epoch(pl.Series(np.arange(ROWS) * 86_400 * 3)))
    encoder = Encoder.fit(frame, "y", use=["constant"], scaling=scaling)
    X = encoder.encode(frame).X
    assert np.isfinite(X).all()
    assert np.abs(X).max() < {"standard": 30, "robust": 3, "quantile": 5.2}[scaling]
    rows = [encoder.encode(frame, rows=[row]).X for row in range(0, ROWS, 40)]
    np.testing.assert_array_equal(np.concatenate(rows), X[::40])
    names = [*NUMBERS, "holes", "day"]
    alone = [Encoder.fit(frame.select(name, "y"), "y", use=[name], scaling=scaling) for name in names]
    np.testing.assert_array_equal(np.hstack([one.encode(frame).X for one in alone]), X)
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False))) == encoder


# ------------------------------------------------------------------------------------ categories

COLOURS = ["red", "blue", None, "red", "green", "blue", "red", "blue"]
TWO = ["no", "yes", None, "no", "no", "yes", "yes", "no"]
ONE = ["x", "x", None, "x", "x", "x", None, "x"]
TABLE = {"colour": COLOURS, "two": TWO, "one": ONE, "size": [1.0, None, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}
LATER = {"colour": ["pink", None, "red"], "two": ["maybe", None, "yes"], "one": ["y", None, "x"]}

# settings: names of the features behind the size, blocks, and the features of LATER
FORMS: dict[str, tuple[dict[str, Any], list[str], Blocks, list[list[float]]]] = {
    "plain": (
        {},
        ["colour=blue", "colour=green", "colour=red", "colour is missing", "two=no", "two=yes",
         "two is missing", "one=x", "one is missing"],
        Blocks((9,), (0, 1, 2, 3, 4, 5, 6, 7, 8, 10), (), ()),
        [[0] * 9, [0, 0, 0, 1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 0, 1, 0, 1, 0]],
    ),
    "signed": (
        {"one_hot": "signed"},
        ["colour=blue", "colour=green", "colour=red", "two=no", "one=x"],
        Blocks((5,), (0, 1, 2, 3, 4, 6), (), ()),
        [[0, 0, 0, 0, -1], [0, 0, 0, 0, -1], [0, 0, 1, -1, 1]],
    ),
    "codes": (
        {"one_hot_up_to": 0},
        ["colour", "two", "one"],
        Blocks((0,), (1,), (2, 3, 4), (4, 3, 2)),
        [[0, 0, 0], [0, 0, 0], [3, 2, 1]],
    ),
    "some": (
        {"one_hot_up_to": 2, "missing": "mean"},
        ["two=no", "two=yes", "one=x", "colour"],
        Blocks((3,), (0, 1, 2), (4,), (4,)),
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 3]],
    ),
    "both": (
        {"one_hot_up_to": 2, "one_hot": "signed"},
        ["two=no", "one=x", "colour"],
        Blocks((2,), (0, 1, 3), (4,), (4,)),
        [[0, -1, 0], [0, -1, 0], [-1, 1, 3]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_forms_of_categories(case: str) -> None:
    encoding, names, blocks, expected = FORMS[case]
    frame = pl.DataFrame({**TABLE, "y": Y[:8]})
    encoder = Encoder.fit(frame, "y", use=["one"], **encoding)
    assert [name for name in encoder.feature_names if not name.startswith("size")] == names
    assert encoder.blocks == blocks
    assert list(range(encoder.n_features)) == sorted((*blocks.numbers, *blocks.one_hot, *blocks.codes))
    assert [encoder.feature_names[i] for i in blocks.codes] == names[len(names) - len(blocks.codes) :]
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    later = pl.DataFrame({**LATER, "size": [1.0, 2.0, 3.0]})
    X = again.encode(later, unseen="ignore").X
    own = [i for i, name in enumerate(encoder.feature_names) if not name.startswith("size")]
    assert X[:, own].tolist() == expected
    with pytest.raises(DataError, match=r"row 1, column 'colour' holds 'pink'"):
        again.encode(later)
    told = {decision.column: str(decision) for decision in encoder.decisions if "codes" in decision.what}
    assert set(told) == {encoder.feature_names[i] for i in blocks.codes}
    if case == "some":
        assert "from 1 to 3, and 0 for missing" in told["colour"]
        assert "more categories than one_hot_up_to=2" in told["colour"]


@pytest.mark.parametrize("one_hot", ONE_HOTS)
def test_one_hot_features_have_the_robust_scaling_of_numbers(one_hot: str) -> None:
    frame = pl.DataFrame({**TABLE, "y": Y[:8]}).drop("size")
    plain, scaled = (
        Encoder.fit(frame, "y", use=["one"], one_hot=one_hot, scaling=scaling).encode(frame).X
        for scaling in ("standard", "robust")
    )
    for x, z in zip(plain.T, scaled.T, strict=True):
        np.testing.assert_array_equal(z, encoded(fitted(x, scaling="robust"), x)[:, 0])


def test_more_categories_may_be_codes_than_features() -> None:
    zips = [f"{i % 1500:04}" for i in range(6000)]
    frame = pl.DataFrame({"zip": zips, "x": np.arange(6000) / 7, "y": np.arange(6000) % 11 / 3})
    assert Encoder.fit(frame, "y").feature_names == ("x",)
    encoder = Encoder.fit(frame, "y", one_hot_up_to=8)
    assert encoder.blocks.cardinalities == (1501,)
    assert encoder.encode(frame).X[:1501, 1].tolist() == [*range(1, 1501), 1]


def test_the_recipe_of_real_mlp_agrees_with_pytabkit() -> None:
    """Scaling of numbers and of one-hot features, two categories as one feature, and codes of many."""
    models = pytest.importorskip(
        "pytabkit.models.nn_models.models", reason="pytabkit is the outside truth", exc_type=ImportError
    )
    data = pytest.importorskip("pytabkit.models.data.data", exc_type=ImportError)
    torch = pytest.importorskip("torch")
    draw = np.random.default_rng(2)
    sizes = {"two": 2, "three": 3, "eight": 8, "nine": 9, "many": 20}
    codes = {k: draw.choice(n + 1, ROWS, p=[0.1, *np.full(n, 0.9 / n)]) for k, n in sizes.items()}
    codes["one"], sizes["one"] = draw.integers(0, 2, ROWS), 1
    tensors = {
        "x_cont": torch.tensor(np.column_stack(list(NUMBERS.values()))),
        "x_cat": torch.tensor(np.column_stack(list(codes.values()))),
        "y": torch.zeros(ROWS, 1),
    }
    infos = {
        "x_cont": data.TensorInfo(feat_shape=[len(NUMBERS)]),
        "x_cat": data.TensorInfo(cat_sizes=[n + 1 for n in sizes.values()]),
        "y": data.TensorInfo(feat_shape=[1]),
    }
    rows = data.DictDataset(tensors, infos)
    steps = ["one_hot", "median_center", "robust_scale", "smooth_clip"]
    factory = models.PreprocessingFactory(tfms=steps, max_one_hot_cat_size=9).create(infos)
    _, expected = factory.fit_transform(rows)
    words = {k: [None if code == 0 else f"c{code:02}" for code in column] for k, column in codes.items()}
    frame = pl.DataFrame({**NUMBERS, **words, "y": Y})
    encoding: dict[str, Any] = {"scaling": "robust", "one_hot": "signed", "one_hot_up_to": 8}
    encoder = Encoder.fit(frame, "y", use=["constant", "one"], **encoding)
    X, blocks = encoder.encode(frame).X, encoder.blocks
    found = X[:, [*blocks.numbers, *blocks.one_hot]]
    np.testing.assert_allclose(found, expected.tensors["x_cont"].numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(X[:, blocks.codes], expected.tensors["x_cat"].numpy())
    assert list(blocks.cardinalities) == expected.tensor_infos["x_cat"].get_cat_sizes().tolist()


# --------------------------------------------------------------------- targets, settings and descriptions


def test_clamped_targets() -> None:
    frame = pl.DataFrame({"x": NUMBERS["normal"], "a": Y, "b": -Y})
    for targets in (["a"], ["a", "b"]):
        plain, clamped = (Encoder.fit(frame, targets, clamp=clamp) for clamp in (False, True))
        z = np.linspace(-9, 9, 7)[:, None] * np.ones(len(targets))
        again = Encoder.from_json(json.loads(json.dumps(clamped.to_json())))
        for name, values in again.decode_targets(z).items():
            expected = np.clip(plain.decode_targets(z)[name], frame[name].min(), frame[name].max())
            np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(plain.clamped(z), z)
        np.testing.assert_array_equal(plain.encode(frame).y, clamped.encode(frame).y)


WRONG = {
    "scaling": ({"scaling": "robusst"}, r"scaling: expected .*, found 'robusst'; did you mean 'robust'"),
    "one_hot": ({"one_hot": None}, "one_hot: expected 'plain' or 'signed', found None"),
    "one_hot_up_to": ({"one_hot_up_to": 2.5}, "one_hot_up_to: expected a whole number of at least 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings(case: str) -> None:
    encoding, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        fitted(NUMBERS["normal"], **encoding)


def test_settings_know_all_of_them() -> None:
    fields = fields_of(Settings)
    assert tuple(fields["scaling"].check.choices()) == SCALINGS  # type: ignore[misc]
    assert tuple(fields["one_hot"].check.choices()) == ONE_HOTS  # type: ignore[misc]


def described(**encoding: Any) -> dict[str, Any]:
    frame = pl.DataFrame({**TABLE, "y": Y[:8]})
    encoder = Encoder.fit(frame.select("size", "colour", "y"), "y", clamp=True, **encoding)
    return dict(json.loads(json.dumps(encoder.to_json())))


ROBUST, QUANTILE, CODES = {"scaling": "robust"}, {"scaling": "quantile"}, {"one_hot_up_to": 0}
PLACE = ["columns", 0, "scaling"]
# settings, the way to a value, another value, and the message
DAMAGED: dict[str, tuple[dict[str, Any], list[Any], Any, str]] = {
    "unknown scaling": (ROBUST, [*PLACE, "kind"], "log", "column 1.scaling.kind: expected .* found 'log'"),
    "scaling of text": (ROBUST, PLACE, "robust", "damaged"),
    "other scaling": (ROBUST, [*PLACE, "kind"], "quantile", "column 'size'.scaling.center is unknown"),
    "center of text": (ROBUST, [*PLACE, "center"], "x", "scaling.center: expected a number"),
    "infinite center": (ROBUST, [*PLACE, "center"], np.inf, "by the center inf"),
    "negative factor": (ROBUST, [*PLACE, "factor"], -1.0, "the factor -1.0"),
    "scaling without limits": (ROBUST, ["columns", 0], "no limits", "has a scaling, or is clamped, without"),
    "one quantile": (QUANTILE, [*PLACE, "quantiles"], [1.0], "has 1 quantiles; expected 2 to 1000"),
    "many quantiles": (QUANTILE, [*PLACE, "quantiles"], [1.0] * 1001, "has 1001 quantiles"),
    "descending": (QUANTILE, [*PLACE, "quantiles"], [2.0, 1.0], "quantiles that do not ascend"),
    "not finite": (QUANTILE, [*PLACE, "quantiles"], [1.0, np.nan], "expected 2 to 1000 numbers"),
    "quantile of text": (QUANTILE, [*PLACE, "quantiles"], ["a", "b"], "expected a number, found 'a'"),
    "unknown form": (CODES, ["columns", 1, "form"], "hash", "column 2.form: expected .* found 'hash'"),
    "codes in between": (CODES, ["columns"], "swapped", "columns of codes behind all others"),
    "codes and own": (CODES, ["columns", 1, "own_missing"], True, "form codes and missing cells as a cat"),
    "codes scaled": (CODES, ["columns", 1, "scales"], [[0.0, 1.0]], "has 1 scales; expected one for each"),
    "too few scales": (ROBUST, ["columns", 1, "scales"], [[0.0, 1.0]], "has 1 scales; expected one for ea"),
    "half a scale": (ROBUST, ["columns", 1, "scales"], [[0.0]] * 4, "expected a list of 2"),
    "scale of NaN": (ROBUST, ["columns", 1, "scales"], [[np.nan, 1.0]] * 4, "by the center nan"),
    "clamp of text": (ROBUST, ["targets", 0, "clamp"], "yes", "target 1.clamp: expected True or False"),
    "scales of a target": (ROBUST, ["targets", 0, "scales"], [], "scales is unknown"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_descriptions(case: str) -> None:
    encoding, way, value, message = DAMAGED[case]
    data = described(**encoding)
    *before, last = way
    inner: Any = data
    for step in before:
        inner = inner[step]
    if value == "swapped":
        inner[last].reverse()
    elif value == "no limits":
        inner[last] |= {"limits": None, "span": None}
    else:
        inner[last] = value
    with pytest.raises(CheckpointError, match=message):
        Encoder.from_json(data)


def test_mutated_descriptions() -> None:
    """A changed value, key or list is refused, or gives an encoder that works."""
    draw, frame = random.Random(0), pl.DataFrame({**TABLE, "y": Y[:8]})
    texts = [json.dumps(described(**x)) for x in (ROBUST, QUANTILE, CODES, {**ROBUST, "one_hot": "signed"})]
    refused = 0
    for number in range(300):
        changed = _mutated_json(json.loads(texts[number % len(texts)]), draw)
        try:
            value = parse(changed.encode(errors="surrogatepass"))
        except ValueError:
            continue
        try:
            encoder = Encoder.from_json(value)
            X = encoder.encode(frame, unseen="ignore", target=False).X
        except XpnetError:
            refused += 1
        else:
            assert np.isfinite(X).all(), changed
            assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder
    assert refused > 100


def test_defaults_are_described_as_before() -> None:
    """Encoders of older versions are read, and those without a choice have no new words in their files."""
    frame = pl.DataFrame({**TABLE, "y": Y[:8]})
    data = Encoder.fit(frame, "y", use=["one"]).to_json()
    known = {"kind", "name", "mean", "std", "fill", "limits", "span", "indicator", "cells", "categories",
             "own_missing"}  # fmt: skip
    assert {key for column in (*data["columns"], *data["targets"]) for key in column} <= known
    assert Numeric("x", 1.0, 2.0).to_json() == {"kind": "numeric", "name": "x", "mean": 1.0, "std": 2.0}
