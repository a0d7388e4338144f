"""The computation graph of a function, to see: values, cotangents, counts, text for pictures."""

from xpnet.autodiff.graphs.counts import Counter
from xpnet.autodiff.graphs.node import Node
from xpnet.autodiff.graphs.propagation import Counts, Graph, graph

__all__ = ["Counter", "Counts", "Graph", "Node", "graph"]
