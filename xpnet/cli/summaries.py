"""What commands say about trainings and searches: before them on stderr, and their results on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xpnet.cli.console import facts, message, print_results
from xpnet.cli.wording import command, in_flags
from xpnet.errors import Word, Words, memory_in_words, use
from xpnet.runs.words import (
    length_in_words,
    parts_in_words,
    products,
    target_in_words,
    weights_in_words,
)
from xpnet.text import count

if TYPE_CHECKING:
    from xpnet.runs.plan import Plan
    from xpnet.runs.tuning import Tuning

__all__ = ["announce", "announce_search", "show_plan", "show_training", "show_tuning"]


def announce(plan: Plan) -> None:
    """Write table, model and device of a training on stderr."""
    told = plan.describe()
    parts = parts_in_words(told)
    rows = ", ".join(f"{size:,} {parts[name]}" for name, size in told["rows"].items())
    target = " (".join(target_in_words(told))
    message(f"{told['data']}: {count(told['features'], 'feature')}, target {target}); rows: {rows}")
    if told["rows_left_out"]:
        left_out = count(told["rows_left_out"], "row")
        message(f"{left_out} left out, with a missing target or other missing cells")
    for decision in plan.prepared.decisions:
        message(Words(f"{'warning: ' if decision.warning else ''}{decision.text}"))
    message(
        f"model {told['layers']} ({count(told['parameters'], 'parameter')}), {told['loss']}, "
        f"{told['optimizer']}, batch size {told['batch_size']}, {told['dtype']}{products(told)}"
    )
    message(f"training {length_in_words(told)}")
    message(f"device {told['device']} ({told['device_reason']})")


def announce_search(plan: Plan, searched: Sequence[str]) -> None:
    """Write table, first model and device of a search on stderr, and what is searched."""
    announce(plan)
    flags = ", ".join(name.replace("_", "-") for name in searched)
    message(f"searching {flags}; the first trial is the recipe as it is, and each trains one network")


def show_tuning(found: Tuning) -> None:
    """Print the scores of the best run, and what the search has found."""
    results, measured = found.results, found.results["measured_by"].replace("_", " ")
    show_training(found.run.results)
    ended = ", ".join(f"{number} {name}" for name, number in results["outcomes"].items())
    chosen = Words(" ".join(use(name, value) for name, value in results["settings"].items()))
    facts(
        {
            "search": f"{count(results['trials'], 'trial')} ({ended}), {results['seconds']:.1f} s",
            "best": f"trial {results['best_trial']}, {measured} {results['score']:.4g}",
            "settings": in_flags(chosen),
            "trials": results["report"],
            "use it": command("predict", results["best"], Word("FILE")),
        }
    )


def show_plan(plan: Mapping[str, Any]) -> None:
    """Print what a training would be."""
    parts = parts_in_words(plan)
    rows = ", ".join(f"{size:,} {parts[name]} rows" for name, size in plan["rows"].items())
    facts(
        {
            "data": f"{plan['data']}: {rows}",
            "target": ": ".join(target_in_words(plan)),
            "features": f"{plan['features']:,}",
            "model": f"{plan['layers']}, {count(plan['parameters'], 'parameter')}",
            "training": f"{plan['loss']}, {plan['optimizer']}, batch size {plan['batch_size']}, "
            f"{length_in_words(plan)}",
            "device": f"{plan['device']} ({plan['device_reason']}){products(plan)}",
            "run folder": f"{plan['run']} (not made: this is a dry run)",
        }
    )


def show_training(results: Mapping[str, Any]) -> None:
    """Print the scores of a run, and how it went."""
    told, peak = results.get("restarts"), results.get("peak_memory")
    restarts = {} if told is None else {"restarts": _restarts_line(told)}
    print_results(
        results,
        {
            **restarts,
            "weights": weights_in_words(results),
            "training": f"{count(results['epochs_trained'], 'epoch')}, {count(results['steps'], 'step')}, "
            f"{results['seconds']:.1f} s on {results['device']}{products(results)}; {results['stopped']}",
            **({} if peak is None else {"device memory": f"{memory_in_words(peak)} taken at most"}),
            **_advice(results),
            "run folder": results["run"],
            "report": results.get("report", "none: the run was finished before there were reports"),
        },
    )


def _advice(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the commands with which a training goes on that could have been longer."""
    told = [
        f"{one['why']}; train on with: {command('resume', results['run'], **one['set'])}"
        for one in results.get("advice", ())
    ]
    return {"advice": "; ".join(told)} if told else {}


def _restarts_line(told: Mapping[str, Any]) -> str:
    lost = f"; {told['lost']} diverged" if told["lost"] else ""
    return (
        f"number {told['best']} of {told['n']} is the best, seed {told['seed']}; "
        f"{told['measured_by'].replace('_', ' ')}: min {told['minimum']:.4g}, median {told['median']:.4g}, "
        f"max {told['maximum']:.4g}, standard deviation {told['standard_deviation']:.2g}{lost}"
    )
