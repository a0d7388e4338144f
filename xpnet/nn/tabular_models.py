"""Networks for tables: RealMLP and TabM, put together of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpnet import checks
from xpnet.errors import ConfigError
from xpnet.nn.activations import Identity, ParametricActivation
from xpnet.nn.activations import activation as activation_layer
from xpnet.nn.columns import Columns
from xpnet.nn.dense import Dense
from xpnet.nn.dropout import Dropout
from xpnet.nn.embedding import Embedding
from xpnet.nn.ensemble import BatchEnsemble, EnsembleDense
from xpnet.nn.layer import Layer
from xpnet.nn.numeric_embeddings import PeriodicEmbedding, PiecewiseLinearEmbedding
from xpnet.nn.scale import Scale
from xpnet.nn.sequential import Sequential

__all__ = ["RealMLP", "TabM"]

Places = int | Sequence[int]


def RealMLP(
    outputs: int,
    *,
    numbers: Places = 0,
    one_hot: Places = 0,
    codes: Sequence[int] | None = None,
    cardinalities: Sequence[int] = (),
    hidden: Sequence[int] = (256, 256, 256),
    activation: str | Layer = "selu",
    dropout: float | Callable[[int], float] = 0.15,
    number_size: int = 4,
    frequencies: int = 16,
    frequency_std: float = 0.1,
    embedding_size: int = 8,
    simple: bool = False,
) -> Sequential:
    """Return the network of RealMLP: an MLP with inputs that are embedded and scaled.

    Numbers become vectors by `PeriodicEmbedding`, codes by `Embedding`; a `Scale` weighs all of them. Hidden
    layers are a Dense in NTK parametrization, a `ParametricActivation` and Dropout. The first weights and
    biases of every Dense depend on training rows (``unit_variance``, ``he_plus``). Parameters that learn at
    rates of their own are called ``scale``, ``bias``, ``activation`` and ``0.numbers``.

    Args:
        outputs: number of outputs.
        numbers: how many columns are numbers, the first ones of the inputs; or their places, a list.
        one_hot: how many columns behind them are one-hot or the like; or their places.
        codes: places of the columns of codes, if the others are lists; None: the last ones.
        cardinalities: of each column of codes, how many there are; code 0 stands for missing ones.
        hidden: widths of the hidden layers.
        activation: ``"selu"`` for classes; RealMLP takes ``"mish"`` for values.
        dropout: rate behind each hidden layer, or its schedule.
        number_size: outputs for each number; 1 for the number alone.
        frequencies: of `PeriodicEmbedding`.
        frequency_std: of `PeriodicEmbedding`.
        embedding_size: outputs for each column of codes.
        simple: RealMLP-TD-S instead: no embeddings of numbers, parametric activations or dropout; weights and
            biases are standard normal, and those of the last layer zeros.

    Raises:
        ConfigError: numbers of columns that do not fit together, or as the layers say.

    Example:
        >>> model = RealMLP(3, numbers=10, one_hot=4, cardinalities=[12], hidden=[64])
        >>> model.output_shape((15,))
        (3,)
        >>> [type(layer).__name__ for layer in model]
        ['Columns', 'Scale', 'Dense', 'ParametricActivation', 'Dropout', 'Dense']

    Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
        NeurIPS 2024, with the settings of RealMLP-TD.
    """
    of_numbers: Layer = Identity()
    if number_size > 1 and not simple:
        of_numbers = PeriodicEmbedding(number_size, frequencies, frequency_std)
    tables = (cardinalities, embedding_size)
    layers: list[Layer] = [_inputs("RealMLP", of_numbers, numbers, one_hot, codes, *tables), Scale()]
    begun: Any = {"weight_init": "unit_variance", "bias_init": "he_plus"}
    last = begun
    if simple:
        begun = {"weight_init": "lecun_normal", "bias_init": {"name": "normal", "std": 1.0}}
        last = {"weight_init": "zeros"}
    for width in hidden:
        nonlinearity = activation_layer(activation)
        layers.append(Dense(width, parametrization="ntk", **begun))
        layers.append(nonlinearity if simple else ParametricActivation(nonlinearity))
        if dropout and not simple:
            layers.append(Dropout(dropout))
    return Sequential([*layers, Dense(outputs, parametrization="ntk", **last)])


def TabM(
    outputs: int,
    *,
    numbers: Places = 0,
    one_hot: Places = 0,
    codes: Sequence[int] | None = None,
    cardinalities: Sequence[int] = (),
    edges: Sequence[Sequence[float]] | None = None,
    one_hot_sizes: Sequence[int] | None = None,
    members: int = 32,
    hidden: Sequence[int] | None = None,
    activation: str | Layer = "relu",
    dropout: float | Callable[[int], float] = 0.1,
    number_size: int = 16,
    embedding_size: int = 8,
) -> Sequential:
    """Return the network of TabM: many MLPs in one, which differ in a few vectors of each.

    Hidden layers are a `BatchEnsemble`, an activation and Dropout; the last is an `EnsembleDense`. The
    members begin alike but for random factors of the inputs, and their predictions are averaged.

    Args:
        outputs: number of outputs of each member.
        numbers: how many columns are numbers, the first ones of the inputs; or their places, a list.
        one_hot: how many columns behind them are one-hot or the like; or their places.
        codes: places of the columns of codes, if the others are lists; None: the last ones.
        cardinalities: of each column of codes, how many there are; code 0 stands for missing ones.
        edges: of bins for each number, such as those of `quantile_edges`, for `PiecewiseLinearEmbedding`;
            None: numbers are taken as they are.
        one_hot_sizes: how many of the one-hot columns, in order, belong to one feature: their factors begin
            alike. None: each is one.
        members: how many MLPs.
        hidden: widths of the hidden layers; None for three of 512, or two if there are edges.
        activation: of all hidden layers.
        dropout: rate behind each hidden layer, or its schedule.
        number_size: outputs of an embedding for each number.
        embedding_size: outputs for each column of codes.

    Raises:
        ConfigError: numbers of columns that do not fit together, or as the layers say.

    Example:
        >>> model = TabM(3, numbers=10, one_hot=4, members=8, hidden=[64])
        >>> model.output_shape((14,)), model.ensemble
        ((8, 3), 8)

    Source: Gorishniy et al., "TabM: advancing tabular deep learning with parameter-efficient ensembling",
        ICLR 2025, with the defaults of the package tabm.
    """
    of_numbers: Layer = Identity() if edges is None else PiecewiseLinearEmbedding(edges, number_size)
    tables = (cardinalities, embedding_size)
    layers: list[Layer] = [_inputs("TabM", of_numbers, numbers, one_hot, codes, *tables)]
    widths = hidden if hidden is not None else [512] * (3 if edges is None else 2)
    chunks = [1 if edges is None else number_size] * _count(numbers)
    chunks += [1] * _count(one_hot) if one_hot_sizes is None else list(one_hot_sizes)
    first: Any = {
        "input_init": "random_signs" if edges is None else {"name": "normal", "std": 1.0},
        "chunks": [*chunks, *[embedding_size] * len(cardinalities)],
    }
    for width in widths:
        layers += [BatchEnsemble(width, members, **first), activation_layer(activation)]
        if dropout:
            layers.append(Dropout(dropout))
        first = {}
    return Sequential([*layers, EnsembleDense(outputs, members)])


def _inputs(
    model: str,
    of_numbers: Layer,
    numbers: Places,
    one_hot: Places,
    codes: Sequence[int] | None,
    cardinalities: Sequence[int],
    embedding_size: int,
) -> Columns:
    """Return the layer that takes the columns in: first numbers, then one-hot columns, then codes."""
    for name, places in (("numbers", numbers), ("one_hot", one_hot)):
        _check_places(f"{model}: {name}", places)
    if codes is not None and len(codes) != len(cardinalities):
        raise ConfigError(
            f"{model}: expected a cardinality for each column of codes, found {len(cardinalities)} for "
            f"{len(codes)} columns"
        )
    parts: dict[str, tuple[Places, Layer]] = {}
    if _count(numbers):
        parts["numbers"] = numbers, of_numbers
    if _count(one_hot):
        parts["one_hot"] = one_hot, Identity()
    if len(cardinalities):
        places = len(cardinalities) if codes is None else codes
        parts["codes"] = places, Embedding(tuple(cardinalities), embedding_size, zero=0)
    if not parts:
        raise ConfigError(f"{model}: expected numbers, one_hot or cardinalities, found no columns")
    return Columns(**parts)


def _count(places: Places) -> int:
    return len(places) if isinstance(places, Sequence) else places


def _check_places(name: str, places: Any) -> None:
    if not isinstance(places, (int, list, tuple, range)) or isinstance(places, bool):
        raise ConfigError(
            f"{name}: expected how many columns, or a list of their places, found {checks.short_repr(places)}"
        )
