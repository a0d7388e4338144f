"""Computation graphs of functions, for display: values, cotangents, counts, pictures as text."""

from xpnet.autodiff.graphs.counts import Counter
from xpnet.autodiff.graphs.node import Node
from xpnet.autodiff.graphs.propagation import Counts, Graph, graph

__all__ = ["Counter", "Counts", "Graph", "Node", "graph"]
