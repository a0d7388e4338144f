"""Sections of a report about results: metrics, curves, predictions, diagnostics, warnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.errors import Words, call
from xpnet.runs.report.contents import Contents, Prediction
from xpnet.runs.report.diagnostics import Diagnostics, Verdict
from xpnet.runs.report.elements import Html, section, table, tag
from xpnet.runs.report.pictures import Picture
from xpnet.runs.words import interval_in_words, number, score_table, weights_in_words
from xpnet.text import count
from xpnet.train import Spread

__all__ = ["curves", "diagnostics", "headline", "metrics", "notes", "predictions"]

_NAMES = {"r2": "R²", "rmse": "RMSE", "learning_rate": "learning rate"}
_MOST_CLASSES, _MOST_EPOCHS = 40, 100
_NOTED = ("warning: ", "failed: ", "interrupted")
_INTERVALS = (
    "95 %: the interval in which the score of very many such rows would be expected from these few; for "
    "accuracy Wilson's, for R² the jackknife's. “Always …” is what the best constant prediction scores on "
    "the same rows."
)


def _name(column: str) -> str:
    name = column.removeprefix("validation_")
    shown = _NAMES.get(name, name.replace("_", " "))
    return shown if name == column else f"validation {shown}"


def headline(contents: Contents) -> Html:
    """Return the main numbers of the run."""
    results, shown = contents.results, contents.shown
    values = results["metrics"][shown]
    first = next((name for name in ("accuracy", "r2") if name in values), "loss")
    ends = interval_in_words(first, results.get("intervals", {}).get(shown, {}).get(first))
    within = f" (95\u00a0%: {ends})" if ends and shown != "train" else ""
    tiles = [(f"{_name(first)} on {shown} rows{within}", number(first, values[first]))]
    if first != "loss":
        other = "rmse" if "rmse" in values else "loss"
        tiles.append((f"{_name(other)} on {shown} rows", number(other, values.get(other))))
    if results["best_epoch"] is not None:
        tiles.append(("best epoch", f"{results['best_epoch']:,} of {results['epochs_trained']:,}"))
    else:
        tiles.append(("epochs", f"{results['epochs_trained']:,}"))
    tiles += [
        ("training time", _duration(results["seconds"])),
        ("parameters", f"{results['parameters']:,}"),
    ]
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles),
        class_="tiles",
        aria_label="Headline results",
    )


def _duration(seconds: float) -> str:
    """Return a time in the units that people use for its size.

    >>> _duration(6.21), _duration(75.0), _duration(7384.0)
    ('6.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def metrics(contents: Contents) -> Html:
    """Return the section with the loss and the metrics of each part."""
    results = contents.results
    headings, rows = score_table(results)
    weights = f"the weights {weights_in_words(results)}"
    if results["task"] == "regression" and contents.target_kind != "counts":
        weights += "; the loss is that of the standardized target"
    caption = f"Loss and metrics of each part of the table, with {weights}"
    made = table(caption, headings, rows, numbers=True)
    left_out = results["rows_left_out"]
    note = f"{count(left_out, 'row')} with missing cells {'was' if left_out == 1 else 'were'} left out."
    return section(
        "results",
        "Results",
        made,
        _advice(results),
        _target_metrics(results),
        tag("p", note, class_="note") if left_out else "",
        tag("p", _INTERVALS, class_="note") if any(results.get("intervals", {}).values()) else "",
        _restarts(results),
        _changes(results),
    )


def _advice(results: Mapping[str, Any]) -> Html | str:
    """Say how to go on with a training that could have been longer, in Python and from a shell."""
    told = []
    for one in results.get("advice", ()):
        why = str(one["why"])
        going_on = Words(call("resume", results["run"], **one["set"]))
        told += [why[:1].upper() + why[1:], "; train on with ", tag("code", going_on), ". "]
    return tag("p", *told, class_="note advice") if told else ""


def _target_metrics(results: Mapping[str, Any]) -> Html | str:
    """Return the metrics of each of several targets as a table."""
    parts = results.get("target_metrics")
    if not parts:
        return ""
    names = list(dict.fromkeys(name for of in parts.values() for values in of.values() for name in values))
    rows = [
        [part, target, *(number(name, values.get(name)) for name in names)]
        for part, targets in parts.items()
        for target, values in targets.items()
    ]
    return table("Metrics of each target", ["rows of", "target", *map(_name, names)], rows, numbers=True)


def _restarts(results: Mapping[str, Any]) -> Html | str:
    """Say how several initializations did."""
    found = results.get("restarts")
    if not found:
        return ""
    spread = Spread(**{field.name: found[field.name] for field in dataclasses.fields(Spread)})
    lost = f"; {found['lost']} diverged" if found["lost"] else ""
    words = (
        f"Number {found['best']} (seed {found['seed']}) is the best of {found['n']} initializations{lost}; "
        f"their {found['measured_by'].replace('_', ' ')}: {spread}."
    )
    return tag("p", words, class_="note")


def _changes(results: Mapping[str, Any]) -> Html | str:
    """Say which settings were changed on the way."""
    columns = ("epoch", "setting", "before", "after")
    rows = [[str(change[name]) for name in columns] for change in results["changes"]]
    headings = ["from epoch", *columns[1:]]
    return table("Settings changed on the way", headings, rows) if rows else ""


def _figure(picture: Picture, prefix: str) -> Html:
    caption = f"{prefix}-caption"
    drawn = picture.drawing.svg(**{"role": "img", "aria-labelledby": caption})
    return tag(
        "figure",
        tag("div", Html(drawn), class_="drawing"),
        tag("figcaption", picture.description, id=caption),
        id=prefix,
    )


def _gallery(pictures: Sequence[Picture]) -> Html:
    return tag("div", *(_figure(p, p.path.stem.replace("_", "-")) for p in pictures), class_="gallery")


def curves(contents: Contents) -> Html:
    """Return the section with the curves over epochs."""
    return section("curves", "Curves", _gallery(contents.curves), _epochs(contents))


def predictions(contents: Contents) -> Html:
    """Return the section with the predictions of each target, as a picture and as a table."""
    parts = []
    for one in contents.predictions:
        details = (_classes if one.classes else _errors)(one, contents.shown)
        parts.append(tag("div", _gallery([one.picture]), details, class_="beside"))
    return section("predictions", "Predictions", *parts)


def _classes(of_target: Prediction, part: str) -> Html:
    """Return a table of how well each class is recognized; of many classes, the least recognized ones."""
    true, predicted, classes = of_target.truth, of_target.predicted, of_target.classes
    rows: list[tuple[float, list[Any]]] = []
    for index, name in enumerate(classes):
        of, taken = true == index, predicted == index
        right = int((of & taken).sum())
        wrong = predicted[of & ~taken]
        mistake = "-"
        if len(wrong):
            found, counts = np.unique(wrong, return_counts=True)
            often = int(np.argmax(counts))
            mistake = f"{classes[int(found[often])]} ({counts[often]:,})"
        recall = right / of.sum() if of.any() else None
        precision = right / taken.sum() if taken.any() else None
        shares = [number("accuracy", value) for value in (recall, precision)]
        rows.append((2.0 if recall is None else recall, [name, f"{int(of.sum()):,}", *shares, mistake]))
    caption = f"The classes of {of_target.target} among the {part} rows"
    if len(rows) > _MOST_CLASSES:
        rows = sorted(rows, key=lambda row: row[0])[:_MOST_CLASSES]
        caption += f": the {_MOST_CLASSES} of {len(classes):,} that are recognized least"
    columns = ["class", "rows", "recall", "precision", "mostly mistaken for"]
    return table(caption, columns, [cells for _, cells in rows], numbers=True)


def _errors(of_target: Prediction, part: str) -> Html:
    """Return a table of the errors, on the scale of the target."""
    true, predicted = of_target.truth, of_target.predicted
    error = predicted - true
    size = np.abs(error)
    worst = int(np.argmax(size))
    values = {
        "mean error (above zero: predicted too high)": np.mean(error),
        "mean absolute error": np.mean(size),
        "median absolute error": np.median(size),
        "root mean square error": np.sqrt(np.mean(error**2)),
        "largest absolute error": size[worst],
        "true value there": true[worst],
        "predicted value there": predicted[worst],
    }
    rows = [[name, number("", float(value))] for name, value in values.items()]
    return table(f"Errors of {of_target.target} on the {part} rows", ["error", "value"], rows, numbers=True)


def diagnostics(contents: Contents) -> Html | None:
    """Return the section with the diagnostics of the layers; None without diagnostics."""
    found = contents.diagnostics
    if found is None:
        return None
    if found.verdicts:
        verdicts = tag("ul", *(_verdict(verdict, found) for verdict in found.verdicts), class_="verdicts")
    else:
        looked = f"{count(len(found.epochs), 'epoch')} looked at, {found.epochs[0]} to {found.epochs[-1]}"
        verdicts = tag("p", tag("strong", "No fault was found."), f" ({looked}.)", class_="verdict sound")
    return section("diagnostics", "Diagnostics", verdicts, _gallery(contents.diagnostic_pictures))


def _verdict(verdict: Verdict, found: Diagnostics) -> Html:
    """Return a fault, and where and when it was found."""
    is_layer = any(verdict.layer in layers for layers in found.layers.values())
    where = f"layer {verdict.layer}" if is_layer else verdict.layer or "the whole network"
    if verdict.first == verdict.last:
        when = f"epoch {verdict.first}"
    else:
        when = f"epochs {verdict.first} to {verdict.last}"
    return tag(
        "li",
        tag("strong", verdict.kind[:1].upper() + verdict.kind[1:]),
        tag("span", f"{where}, {when}", class_="where"),
        tag("p", verdict.message),
        class_="verdict",
    )


def notes(contents: Contents) -> Html | None:
    """Return the section with the warnings, failures and interruptions in the log; None without any."""
    noted = []
    for line in contents.log:
        stamp, _, said = line.rstrip("\n").partition(" ")
        if said.startswith(_NOTED):
            noted.append((stamp, said))
    if not noted:
        return None
    items = [tag("li", tag("time", stamp), " ", said) for stamp, said in noted]
    return section("warnings", "Warnings", tag("ol", *items, class_="log"))


def _epochs(contents: Contents) -> Html:
    """Return the numbers of the epochs, folded; of many epochs, some at equal distances."""
    rows = list(contents.rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    chosen = rows
    if len(rows) > _MOST_EPOCHS:
        places = {round(i * (len(rows) - 1) / (_MOST_EPOCHS - 1)) for i in range(_MOST_EPOCHS)}
        best = contents.results["best_epoch"]
        chosen = [row for i, row in enumerate(rows) if i in places or row["epoch"] == best]
    caption = f"{len(chosen)} of {count(len(rows), 'epoch')}; history.csv has all of them in full"
    cells = [[_cell(name, row) for name in columns] for row in chosen]
    return tag(
        "details",
        tag("summary", "The numbers behind the curves"),
        table(caption, [_name(column) for column in columns], cells, numbers=True),
    )


def _cell(name: str, row: Mapping[str, Any]) -> Any:
    value = row.get(name)
    if isinstance(value, float):
        return number(name.removeprefix("validation_"), value)
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else value
