"""Connections between the units of a model, and masks without dead ends."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from xpnet.nn import Layer
from xpnet.parameters import Layout
from xpnet.prune.layers import stacks_of_dense

__all__ = ["FEWEST", "Connections"]

FEWEST = 2
"""Paths to the inputs that each output keeps, and units that each hidden layer keeps."""


class Connections:
    """Which weights lead to which others: the units of a Dense layer are the inputs of the next one.

    Masks and scores are flat vectors (layout.size,) on the host.

    Args:
        layout: of the model's parameters.
        model: its stacks of Dense layers are known; the weights of other layers are connected in any case.
    """

    def __init__(self, layout: Layout, model: Layer):
        self._places = dict(zip(layout.names, layout.slices, strict=True))
        self._stacks = stacks_of_dense(model)
        in_stacks = {name for stack in self._stacks for name in stack}
        self._others = [
            part for name, (part, shape) in self._places.items() if len(shape) > 1 and name not in in_stacks
        ]

    def _matrices(self, flat: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the weights of the Dense layers as matrices (in_features, units), views of the vector."""
        return {
            name: flat[self._places[name][0]].reshape(self._places[name][1])
            for stack in self._stacks
            for name in stack
        }

    def strongest_paths(self, scores: np.ndarray) -> np.ndarray:
        """Return the weights that are needed for each output to depend on some inputs.

        These are, of each output, the `FEWEST` weights of the highest score, and, of each unit that they come
        from, the best weight, down to the inputs; of the weights of other layers, the best.

        Args:
            scores: of all parameters; weights with the score 0 cannot be kept.
        """
        connected = scores > 0
        self.cut_dead_ends(connected)
        usable, paths = np.where(connected, scores, 0.0), np.zeros(len(scores), dtype=bool)
        matrices, marked = self._matrices(usable), self._matrices(paths)
        for stack in self._stacks:
            units, most = np.arange(matrices[stack[-1]].shape[1]), FEWEST
            for name in reversed(stack):
                of_units = matrices[name][:, units]
                best = np.argsort(-of_units, axis=0, kind="stable")[:most]
                inputs, columns = best.ravel(), np.tile(np.arange(len(units)), len(best))
                exist = of_units[inputs, columns] > 0
                marked[name][inputs[exist], units[columns[exist]]] = True
                units, most = np.unique(inputs[exist]), 1
        for part in self._others:
            best = part.start + np.argsort(-usable[part], kind="stable")[:FEWEST]
            paths[best[usable[best] > 0]] = True
        return paths

    def cut_dead_ends(self, kept: np.ndarray) -> None:
        """Take out of a mask the weights of units that have only inputs, or only outputs."""
        matrices, before = self._matrices(kept), -1
        while before != (before := int(kept.sum())):
            for stack in self._stacks:
                for name, following in itertools.pairwise(stack):
                    alive = matrices[name].any(axis=0) & matrices[following].any(axis=1)
                    matrices[name][:, ~alive] = False
                    matrices[following][~alive, :] = False

    def attachable(self, kept: np.ndarray) -> np.ndarray:
        """Return the weights between units that a mask without dead ends keeps."""
        possible = np.ones(len(kept), dtype=bool)
        matrices, allowed = self._matrices(kept), self._matrices(possible)
        for stack in self._stacks:
            for name, following in itertools.pairwise(stack):
                dead = ~matrices[following].any(axis=1)
                allowed[name][:, dead] = False
                allowed[following][dead, :] = False
        return possible
