"""Computation graphs of functions: forward and backward propagation as in the lecture notes.

Transforms such as :func:`xpnet.autodiff.grad` keep as little as they can. A :class:`Graph` keeps everything:
each node's value, parents, children and cotangent, and the functions, so that it can be evaluated again.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.autodiff.arguments import array_beside, name_of, space_of
from xpnet.autodiff.graphs import text
from xpnet.autodiff.graphs.counts import Counter
from xpnet.autodiff.graphs.node import Node, shape_of
from xpnet.autodiff.graphs.recording import GraphTrace, labels, make_nodes
from xpnet.autodiff.tracer import Tracer, is_floating, lowered
from xpnet.backends import array_namespace
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import RecordError

__all__ = ["Counts", "Graph", "graph"]


@dataclass(frozen=True)
class Counts:
    """Sizes of a graph, and the products that its derivatives cost.

    Attributes:
        nodes: V, the nodes that depend on an input. Constants have no derivative and do not count.
        edges: E, the edges between them; ``x * x`` has two.
        products: cotangent times local derivative, as often as the latest ``backward`` did it.
        paths: ways from an input to a result.
        path_products: products that the sum over all paths of the product along each path would take.
    """

    nodes: int
    edges: int
    products: int
    paths: int
    path_products: int


class Graph:
    """The computation graph of a function; made by :func:`graph`.

    Attributes:
        nodes: in topological order.
        outputs: numbers of the nodes that the function returned, None for a leaf that is no node.
    """

    def __init__(self, nodes: list[Node], trace: GraphTrace, args: Any, slots: Any, result: Any):
        self.nodes = nodes
        self.products = 0
        self._trace, self._args, self._slots, self._result = trace, args, slots, result
        calls = {number: trace.call(number) for number in range(len(nodes))}
        self._calls = {number: call for number, call in calls.items() if call is not None}
        self.outputs = [trace.number_of(y) for y in leaves(result)]

    # --- the two directions --------------------------------------------------------------------------

    def forward(self, *args: Any) -> Any:
        """Evaluate node by node, xᵢ ← gᵢ(x_Pa(i)), and return the result (note ``003_…``, section 2.1).

        Args:
            args: new arguments of the same structure, shapes and dtypes; none: those that are there. Integer
                leaves and Python values are part of what was recorded and must be the same.

        Raises:
            RecordError: arguments that do not fit, or the function would have taken another course: a value
                that was used outside the graph, in an ``if`` or an index say, has changed.
        """
        if args:
            self._set_inputs(args)
        for node in self.nodes:
            node.cotangent = None
            if node.kind == "operation":
                old, node.value = node.value, lowered(self._apply(node))
                if not node.children and self._calls[node.number].rule.constant:
                    _check_unchanged(node, old)
        return self._results()

    def backward(self, version: int = 1, *, cotangent: Any = None) -> Any:
        """Compute the cotangent of each node, and return those of the arguments, like :func:`grad`.

        Args:
            version: 1, each node sums over its children; 2, each node pushes to its parents: the algorithms
                of note ``003_…``, sections 2.2 and 2.3. They give the same numbers.
            cotangent: container like the result; needed unless that is one floating 0-d array.

        Returns:
            The gradient of the one argument, or a tuple; None if it is not floating.

        Raises:
            RecordError: the result is not 0-d and no cotangent is given, or one that does not fit.
        """
        if version not in (1, 2):
            raise RecordError(
                f"backward: expected version=1 (each node sums over its children) or version=2 (each node "
                f"pushes to its parents), found {version!r}"
            )
        self.products = 0
        self._start(cotangent)
        if version == 1:
            self._sum_over_children()
        else:
            self._push_to_parents()
        gradients = rebuild(self._args, [self._gradient(slot) for slot in self._slots])
        return gradients[0] if len(gradients) == 1 else tuple(gradients)

    def _sum_over_children(self) -> None:
        """Version 1. For i = N-1, …, 1: df/dxᵢ ← Σ df/dxⱼ · dgⱼ/dxᵢ over the children j of i."""
        for node in reversed(self.nodes):
            if node.depends:
                for j in reversed(node.children):
                    for position in self._positions(j, node.number):
                        self._add(node, self._product(self.nodes[j], position))

    def _push_to_parents(self) -> None:
        """Version 2. For j = N, …, 1, for all parents i of j: df/dxᵢ ← df/dxᵢ + df/dxⱼ · dgⱼ/dxᵢ."""
        for node in reversed(self.nodes):
            for i in dict.fromkeys(node.parents):
                if self.nodes[i].depends:
                    for position in self._positions(node.number, i):
                        self._add(self.nodes[i], self._product(node, position))

    def _product(self, child: Node, position: int) -> Any:
        """Return df/dxⱼ · dgⱼ/dxᵢ for the parent i at ``position``; None where df/dxⱼ is zero."""
        g, call = child.cotangent, self._calls[child.number]
        if g is None or call.rule.constant:
            return None
        self.products += 1
        if call.item is not None:  # one of several results: the others' cotangents stay unknown here
            siblings = self.nodes[child.parents[0]].value
            return [g if i == call.item else None for i in range(len(siblings))]
        xp = self._trace.pull_space(g, child.value)
        return call.rule.pull(position)(xp, g, child.value, *self._values(child), **call.options)

    def _add(self, node: Node, part: Any) -> None:
        if part is None or node.cotangent is None:
            node.cotangent = node.cotangent if part is None else part
        elif isinstance(part, list):
            node.cotangent = [b if a is None else a for a, b in zip(node.cotangent, part, strict=True)]
        else:
            node.cotangent = lowered(self._trace.space.add(node.cotangent, part))

    def _positions(self, child: int, parent: int) -> list[int]:
        """Return at which of the child's arguments the parent stands."""
        return [position for position, i in enumerate(self._calls[child].sources) if i == parent]

    def _values(self, node: Node) -> list[Any]:
        call = self._calls[node.number]
        return [x if i < 0 else self.nodes[i].value for i, x in zip(call.sources, call.literals, strict=True)]

    def _apply(self, node: Node) -> Any:
        call = self._calls[node.number]
        if call.item is not None:
            return self.nodes[node.parents[0]].value[call.item]
        return call.function(*self._values(node), **call.options)

    # --- what it costs -------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """Nodes V, edges E, products of the latest ``backward``, and the cost of the sum over paths.

        Paths are not enumerated: those from a node are the sum of those from its children.
        """
        edges = 0
        paths, products = [0] * len(self.nodes), [0] * len(self.nodes)
        for number in self.outputs:
            if number is not None:
                paths[number] += 1
        for node in reversed(self.nodes):
            for i in node.parents:
                if node.depends and self.nodes[i].depends:
                    edges += 1
                    paths[i] += paths[node.number]
                    products[i] += products[node.number] + paths[node.number]
        inputs = [node.number for node in self.nodes if node.depends and node.kind == "input"]
        return Counts(
            nodes=sum(node.depends for node in self.nodes),
            edges=edges,
            products=self.products,
            paths=sum(paths[i] for i in inputs),
            path_products=sum(products[i] for i in inputs),
        )

    def multiplications(self) -> tuple[int, int]:
        """Return how many numbers are multiplied by ``forward`` and by ``backward``.

        Both are run on arrays that count (:class:`xpnet.autodiff.graphs.Counter`): n for an elementwise
        product, m·k·n for a matrix product. Results of several values start from a cotangent of ones.
        """
        counter = Counter(self._trace.base)
        twin = copy.copy(self)
        twin.nodes = [dataclasses.replace(node) for node in self.nodes]
        for node in twin.nodes:
            if node.kind == "input" and node.depends:
                node.value = counter.counted(node.value)
        result = twin.forward()
        forward = counter.multiplications
        twin.backward(cotangent=map_leaves(lambda y: counter.counted(_ones_like(y)), result))
        return forward, counter.multiplications - forward

    # --- text ----------------------------------------------------------------------------------------

    def to_dot(self) -> str:
        """Return the graph in Graphviz's language, with values, and cotangents where they are known."""
        return text.to_dot(self.nodes, self.outputs)

    def to_mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart, with values, and cotangents where they are known."""
        return text.to_mermaid(self.nodes, self.outputs)

    def __repr__(self) -> str:
        return text.to_table(self.nodes)

    # --- arguments and results -----------------------------------------------------------------------

    def _set_inputs(self, args: tuple[Any, ...]) -> None:
        first = next(node.value for node in self.nodes if node.depends)
        given = leaves([_as_array(lowered(x), [first]) for x in args])
        if len(args) != len(self._args) or len(given) != len(self._slots):
            raise RecordError(
                f"forward: expected {len(self._args)} arguments with {len(self._slots)} leaves as they were "
                f"recorded, found {len(args)} with {len(given)}"
            )
        for slot, known, new in zip(self._slots, leaves(self._args), given, strict=True):
            if slot is None or not self.nodes[slot].depends:
                name = "a Python value" if slot is None else self.nodes[slot].name
                if not _equal(known, new):
                    raise RecordError(
                        f"forward: expected {name} to be as it was recorded, for it is not floating and may "
                        "have decided what was computed; record anew with xpnet.autodiff.graph(f, *args)"
                    )
                continue
            node = self.nodes[slot]
            dtype = getattr(new, "dtype", type(new))
            if (shape_of(new), dtype) != (node.shape, node.dtype):
                raise RecordError(
                    f"forward: expected {node.name} of shape {node.shape} and dtype {node.dtype} as it was "
                    f"recorded, found {shape_of(new)} and {dtype}; record anew with "
                    "xpnet.autodiff.graph(f, *args)"
                )
            node.value = new

    def _results(self) -> Any:
        plain = [lowered(y) for y in leaves(self._result)]
        values = [y if i is None else self.nodes[i].value for i, y in zip(self.outputs, plain, strict=True)]
        return rebuild(self._result, values)

    def _start(self, cotangent: Any) -> None:
        """Set the cotangents of the results, and forget all others."""
        for node in self.nodes:
            node.cotangent = None
        results = leaves(self._results())
        if cotangent is None:
            if len(results) != 1 or shape_of(results[0]) or not is_floating(results[0]):
                found = ", ".join(f"shape {shape_of(y)} and dtype {getattr(y, 'dtype', '')}" for y in results)
                raise RecordError(
                    f"backward: expected one floating 0-d array as result, found {found or 'none'}; pass "
                    "cotangent= with the derivative of a number with respect to it"
                )
            cotangent = _ones_like(results[0])
        given = leaves(cotangent)
        if [shape_of(g) for g in given] != [shape_of(y) for y in results]:
            raise RecordError(
                f"backward: expected a cotangent of shape {[shape_of(y) for y in results]} like the result, "
                f"found {[shape_of(g) for g in given]}"
            )
        for number, g, y in zip(self.outputs, given, results, strict=True):
            if number is not None and self.nodes[number].depends:
                self._add(self.nodes[number], _as_array(g, [y]))

    def _gradient(self, slot: int | None) -> Any:
        if slot is None or not self.nodes[slot].depends:
            return None
        node = self.nodes[slot]
        return (
            array_namespace(node.value).zeros_like(node.value) if node.cotangent is None else node.cotangent
        )


def graph(f: Callable[..., Any], *args: Any) -> Graph:
    """Run ``f`` once and return its computation graph.

    Args:
        f: function of arrays, or of nested dicts, lists and tuples of them.
        args: plain arrays. Python floats become 0-d arrays; leaves that are not floating are constants.

    Raises:
        RecordError: no floating argument, or a traced one: a graph shows plain numbers.

    Example:
        >>> import numpy as np
        >>> ellipse = graph(lambda x, y: x * x + 3.0 * y, np.asarray(2.0), np.asarray(5.0))
        >>> [float(g) for g in ellipse.backward(version=2)]
        [4.0, 3.0]
        >>> ellipse
        node  operation  parents  shape  value  cotangent
           0  x                   ()     2      4
           1  y                   ()     5      3
           2  multiply   0 0      ()     4      1
           3  constant            ()     3
           4  multiply   3 1      ()     15     1
           5  add        2 4      ()     19     1
        >>> ellipse.counts
        Counts(nodes=5, edges=5, products=5, paths=3, path_products=6)
    """
    name = name_of(f)
    if any(type(x) is Tracer and x.trace.level for x in leaves(args)):
        raise RecordError(
            f"graph of {name}: expected plain arrays, found a traced one; call graph outside grad"
        )
    plain = map_leaves(lowered, list(args))
    chosen = [_as_array(x, leaves(plain)) for x in plain]
    trace = GraphTrace(space_of(f"graph of {name}", [x for x in leaves(chosen) if is_floating(x)]))
    slots: list[int | None] = []

    def trace_leaf(x: Any) -> Any:
        slots.append(len(trace.tape) if hasattr(x, "shape") else None)
        if is_floating(x):
            return trace.leaf(x)
        if hasattr(x, "shape"):
            trace.constant(x)
        return x

    try:
        result = f(*[map_leaves(trace_leaf, x) for x in chosen])
    finally:
        trace.open = False
    nodes = make_nodes(trace, dict(zip(slots, labels(f, chosen), strict=True)))
    return Graph(nodes, trace, chosen, slots, result)


def _as_array(x: Any, others: list[Any]) -> Any:
    """Return a Python float as a 0-d array like the others; anything else as it is."""
    return array_beside(x, others) if type(x) in (float, complex) else x


def _ones_like(x: Any) -> Any:
    return lowered(array_namespace(x).ones_like(x))


def _equal(a: Any, b: Any) -> bool:
    if not hasattr(a, "shape") or not hasattr(b, "shape"):
        return type(a) is type(b) and bool(a == b)
    return shape_of(a) == shape_of(b) and a.dtype == b.dtype and bool(array_namespace(a).all(a == b))


def _check_unchanged(node: Node, old: Any) -> None:
    pairs: Sequence[Any] = list(zip(leaves(old), leaves(node.value), strict=True))
    if not all(_equal(a, b) for a, b in pairs):
        raise RecordError(
            f"forward: expected node {node.number} ({node.name}) to keep its value, for it was used outside "
            "the graph (by if, as an index, in arithmetic of masks) and may have decided what was computed; "
            "record anew with xpnet.autodiff.graph(f, *args)"
        )
