"""The recording of a computation graph: nodes, from a tape that also keeps functions and constants."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xpnet.autodiff.graphs import text
from xpnet.autodiff.graphs.node import Node
from xpnet.autodiff.reverse import ReverseTrace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.tracer import Tracer, is_floating
from xpnet.backends import is_array
from xpnet.errors import RecordError

__all__ = ["Call", "GraphTrace", "labels", "make_nodes"]


@dataclass(frozen=True, slots=True)
class Call:
    """The function call that computed a node.

    Attributes:
        name: what the operation is called.
        rule: its derivative.
        function: computes it from plain arrays.
        sources: for each argument the number of its node, or -1.
        literals: the arguments that are no nodes, such as shapes and indices; None at the places of nodes.
        options: keyword arguments.
        item: for one result of several: which one.
    """

    name: str
    rule: Rule
    function: Callable[..., Any]
    sources: tuple[int, ...]
    literals: tuple[Any, ...]
    options: dict[str, Any]
    item: int | None = None


class GraphTrace(ReverseTrace):
    """A tape with an entry for everything: constants, and functions without derivative too.

    Arrays without derivative, such as ``x > 0``, are not traced. The trace knows those that it has seen by
    their identity, so that ``where(x > 0, x, 0)`` is a child of ``x > 0``.
    """

    __slots__ = ("_applied", "_seen", "base")

    outlines = False

    def __init__(self, xp: Any):
        super().__init__(xp)
        self.base = xp
        self._applied: dict[int, tuple[Rule, Callable[..., Any]]] = {}
        self._seen: dict[int, int] = {}  # id of an array that the tape holds: its entry

    def constant(self, value: Any) -> Tracer:
        """Return a leaf for an array without derivative, which is known again wherever it is used."""
        made = self.leaf(value)
        self._seen[id(made.value)] = made.slot
        return made

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        self.check_open(rule)
        traced = tuple(self._as_node(rule, position, x) for position, x in enumerate(args))
        number = len(self.tape)
        self._applied[number] = rule, function
        recorded = dataclasses.replace(rule, constant=False) if rule.constant else rule
        made = super().record(recorded, function, traced, options)
        if not rule.constant:
            return made
        out = self.tape[number][4]
        if hasattr(out, "shape"):
            self._seen[id(out)] = number
        elif not isinstance(out, tuple):  # a dtype, say
            del self.tape[number], self._applied[number]
        return self.space.wrap(out)

    def _as_node(self, rule: Rule, position: int, x: Any) -> Any:
        """Return an argument as a tracer of this trace if it is to be a node: an array, or a term."""
        if type(x) is Tracer:
            if x.trace is self:
                return x
            if x.trace.level:
                raise RecordError(
                    f"{rule.name}: expected plain arrays in a graph, found one that an enclosing transform "
                    "traces; call graph outside of it"
                )
            x = x.value
        if isinstance(x, (int, float, complex)) and not hasattr(x, "shape"):
            pulls = rule.pulls[:1] if rule.variadic else rule.pulls[position : position + 1]
            is_term = rule.constant or pulls not in ((), (None,))
            return self.leaf(x) if is_term and not isinstance(x, bool) else x
        if not is_array(x):
            return x
        known = self._seen.get(id(x))
        return self.constant(x) if known is None else Tracer(x, self, known)

    def number_of(self, x: Any) -> int | None:
        """Return the number of the node that a value belongs to, if there is one."""
        if type(x) is Tracer:
            return x.slot if x.trace is self else self._seen.get(id(x.value))
        return self._seen.get(id(x))

    def call(self, number: int) -> Call | None:
        """Return how entry ``number`` was computed; None for inputs and constants."""
        _, parents, values, options, _ = self.tape[number]
        if number in self._applied:
            rule, function = self._applied[number]
            literals = tuple(None if i >= 0 else x for i, x in zip(parents, values, strict=True))
            return Call(rule.name, rule, function, tuple(parents), literals, options)
        if isinstance(parents, int):  # one of several results
            rule, function = self._applied[parents]
            fields = getattr(self.tape[parents][4], "_fields", None)
            name = f"{rule.name}.{fields[values]}" if fields else f"{rule.name}[{values}]"
            return Call(name, rule, function, (parents,), (None,), {}, item=values)
        return None


def make_nodes(trace: GraphTrace, names: dict[int | None, str]) -> list[Node]:
    """Return the tape's entries as nodes; ``names`` has those of the inputs."""
    nodes: list[Node] = []
    children: list[dict[int, None]] = [{} for _ in trace.tape]
    for number, entry in enumerate(trace.tape):
        call = trace.call(number)
        value = entry[4]
        if call is None:
            kind = "input" if number in names else "constant"
            depends = kind == "input" and is_floating(value)
            node = Node(number, kind, names.get(number, kind), "", (), (), depends, value)
        else:
            parents = tuple(i for i in call.sources if i >= 0)
            depends = not call.rule.constant and any(nodes[i].depends for i in parents)
            settings = text.settings(call.literals, call.sources, call.options)
            node = Node(number, "operation", call.name, settings, parents, (), depends, value)
            for i in parents:
                children[i][number] = None
        nodes.append(node)
    for node, numbers in zip(nodes, children, strict=True):
        node.children = tuple(numbers)
    return nodes


def labels(f: Callable[..., Any], args: list[Any]) -> list[str]:
    """Return a name for each leaf of the arguments, after the parameters of ``f``.

    >>> labels(lambda x, w: 0, [1.0, {"a": 2.0, "b": [3.0]}])
    ['x', "w['a']", "w['b'][0]"]
    """
    names = [f"x{i + 1}" for i in range(len(args))]
    try:
        for i, parameter in enumerate(inspect.signature(f).parameters.values()):
            if parameter.kind is parameter.VAR_POSITIONAL:
                names[i:] = [f"{parameter.name}[{k}]" for k in range(len(args) - i)]
            if i >= len(args) or parameter.kind > parameter.POSITIONAL_OR_KEYWORD:
                break
            names[i] = parameter.name
    except (TypeError, ValueError):
        pass  # built-in functions have no signature
    return [label for name, value in zip(names, args, strict=True) for label in _labels(name, value)]


def _labels(name: str, tree: Any) -> list[str]:
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [label for key, value in tree.items() for label in _labels(f"{name}[{key!r}]", value)]
    if isinstance(tree, (list, tuple)):
        fields = getattr(tree, "_fields", None)
        parts = (
            [f"{name}.{field}" for field in fields] if fields else [f"{name}[{i}]" for i in range(len(tree))]
        )
        return [label for part, value in zip(parts, tree, strict=True) for label in _labels(part, value)]
    if hasattr(tree, "__leaves__"):
        return (
            [name] if len(tree.__leaves__()) == 1 else [f"{name}[{i}]" for i in range(len(tree.__leaves__()))]
        )
    return [name]
