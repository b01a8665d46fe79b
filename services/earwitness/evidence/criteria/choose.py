"""Which setting of a sweep a criterion chooses, and how far that is from the best there is: pure functions of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.client.criteria import criterion_name, default_criterion
from earwitness.client.values import Criterion
from earwitness.inference.metadata import Layer
from earwitness.scorer.criteria import places
from earwitness.scorer.frechet import factor_rows, frechet_distance
from earwitness.scorer.layers import Layout
from earwitness.scorer.nearness import KeptRows, neighbours
from earwitness.vocabulary.reference import KeptLayer

Rows = NDArray[np.float32]
Values = NDArray[np.float64]

CHANCE_TO_CERTAIN = 0.5
"""From an AUC of 0.5 to one of 1."""
MOST_OUTSIDE = 0.5
"""A setting leaves the real range when a larger share of its rows lies outside; so the scorer has it."""


def candidates(layers: Sequence[Layer]) -> dict[str, Criterion]:
    """Criteria worth comparing for a model of these layers, by name: the unit, hidden layers, and several together."""
    hidden = tuple(each.name for each in layers if each.kind != "output")
    convolutional = tuple(each.name for each in layers if each.kind == "conv")
    first_half = convolutional[: (len(convolutional) + 1) // 2]
    alone = [(each,) for each in hidden]
    together = [each for each in (first_half, convolutional, hidden) if len(each) > 1]
    found = [Criterion(), *(Criterion("distance", each) for each in [*alone, *together])]
    found += [Criterion("nearness", each) for each in [*alone, *together]]
    found.append(default_criterion(layers))
    return {criterion_name(each): each for each in found}


@dataclass(frozen=True, eq=False)
class Sense:
    """One objective's settings: `batches` [B, M, U] are the activations of all layers that each setting's rows have,
    `real` [k, U] those of the real excerpts that activate the unit most, or least where not `upwards`; `unit` is its
    column, `columns` says where each layer lies."""

    batches: Rows
    real: Rows
    unit: int
    upwards: bool
    columns: Mapping[str, slice]

    def leaves_range(self) -> NDArray[np.bool_]:
        """[B]: whether most rows of a setting activate the unit beyond what any real excerpt does."""
        found, real = self.batches[:, :, self.unit], self.real[:, self.unit]
        outside = found > real.max() if self.upwards else found < real.min()
        return np.asarray(outside.mean(axis=1) > MOST_OUTSIDE)

    def values(self, criterion: Criterion) -> Values:
        """[B]: what each setting has by the criterion, the lowest being the best; see the scorer's `Criterion`."""
        if criterion.kind == "unit":
            return self._distances(slice(self.unit, self.unit + 1))
        each = [
            self._nearness(self.columns[layer], criterion.neighbour_count)
            if criterion.kind == "nearness"
            else self._distances(self.columns[layer])
            for layer in criterion.layers
        ]
        if len(each) == 1:
            return each[0]
        return np.asarray(sum(places(values[:, np.newaxis])[:, 0] for values in each))

    def chosen(self, criterion: Criterion) -> int:
        """The setting that the criterion puts first; where the range is a limit, of those within it if any is."""
        values = self.values(criterion)
        if not criterion.outside_range_allowed:
            leaves = self.leaves_range()
            values = np.where(leaves & ~leaves.all(), np.inf, values)
        return int(np.argmin(values))

    def _distances(self, columns: slice) -> Values:
        reference = factor_rows(self.real[:, columns].astype(np.float64))
        return np.array(
            [frechet_distance(each[:, columns].astype(np.float64), reference).distance for each in self.batches]
        )

    def _nearness(self, columns: slice, asked: int) -> Values:
        layout = Layout((KeptLayer("layer", columns.stop - columns.start),))
        kept = KeptRows.of(self.real[:, columns], layout)
        count = neighbours(asked, kept.row_count)
        return np.array([np.median(kept.distances(each[:, columns], (0,), count)) for each in self.batches])


@dataclass(frozen=True, eq=False)
class Landscape:
    """What every pair of settings is worth, a setting of the first objective with one of the second: `auc` [A, B], how
    well judges tell them apart, None where no judge has an opinion; `kernel` [A, B], their mean distance to real audio.
    """

    auc: Values | None
    kernel: Values

    def regret(self, first: int, second: int) -> float:
        """How far a pair is from the Pareto front of telling apart and being like real audio, 0 on it.

        Of all pairs, the least of what each is better by: AUC in units of 0.5, from chance to certainty, distance in
        units of what lies between the least of all pairs and their median; both as the root of the sum of squares.
        """
        usual = float(np.median(self.kernel) - self.kernel.min())
        further = np.maximum(self.kernel[first, second] - self.kernel, 0.0) / (usual or 1.0)
        if self.auc is None:
            return float(further.max())
        front = self.front()
        worse = np.maximum(self.auc - self.auc[first, second], 0.0) / CHANCE_TO_CERTAIN
        return float(np.hypot(worse, further)[front].min())

    def front(self) -> NDArray[np.bool_]:
        """[A, B]: the pairs than which no other is better in one and as good in the other."""
        if self.auc is None:
            return np.asarray(self.kernel == self.kernel.min())
        auc, kernel = self.auc.ravel(), self.kernel.ravel()
        at_least = (auc >= auc[:, np.newaxis]) & (kernel <= kernel[:, np.newaxis])
        better = (auc > auc[:, np.newaxis]) | (kernel < kernel[:, np.newaxis])
        return np.asarray(~(at_least & better).any(axis=1).reshape(self.kernel.shape))
