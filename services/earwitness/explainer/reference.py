"""A reference as the scorer describes it, and whether it fits what is to be done with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import ReferenceUnusable
from earwitness.inference.metadata import BundleMetadata
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.reference import KeptLayer

Kind = Literal["all", "top", "bottom"]


@dataclass(frozen=True)
class Source:
    """Where activations come from: a `layer` of the model of that bundle name with those weights."""

    model: str
    weights_sha256: str
    layer: str


@dataclass(frozen=True)
class Version:
    """An immutable state of a reference: its resource name, when it was frozen, which tells it from one of a reference
    that was deleted and made again, and how many rows it keeps."""

    name: str
    created_ns: int
    row_count: int


@dataclass(frozen=True)
class Reference:
    """A reference and one version of it; `kind` and `unit` are its selection, of which "all" has no unit.

    `layers` are those that its rows hold, in the order of their columns; one of them is the source's.
    """

    name: str
    source: Source
    kind: Kind
    unit: int
    layers: tuple[KeptLayer, ...]
    version: Version

    @property
    def width(self) -> int:
        """Columns of its rows."""
        return sum(each.unit_count for each in self.layers)

    @property
    def layer_columns(self) -> slice:
        """The columns of its source's layer."""
        first = 0
        for each in self.layers:
            if each.name == self.source.layer:
                return slice(first, first + each.unit_count)
            first += each.unit_count
        raise AssertionError(f"{self.name} does not hold its own layer")  # the scorer saw to it

    def require(self, source: Source, objective: Objective, field: str) -> None:
        """Raises: ReferenceUnusable unless it is of that source, and of the objective's end of its unit."""
        if self.source != source:
            raise ReferenceUnusable(
                f"{field}: {self.name} is of {self.source.layer} of models/{self.source.model} (weights "
                f"{self.source.weights_sha256[:12]}), this is of {source.layer} of models/{source.model} (weights "
                f"{source.weights_sha256[:12]}); name a reference of the same"
            )
        if objective.unit is None or self.kind == "all":
            return
        wanted = "top" if objective.sense == "maximise" else "bottom"
        if (self.kind, self.unit) != (wanted, objective.unit):
            raise ReferenceUnusable(
                f"{field}: {self.name} holds the {self.kind} of unit {self.unit}, the objective is to "
                f"{objective.sense} unit {objective.unit}; name a reference of its {wanted}, or one of "
                "all excerpts"
            )

    def require_rows(self, field: str, what_for: str) -> None:
        """Raises: ReferenceUnusable where it keeps no rows."""
        if self.kind == "all":
            raise ReferenceUnusable(
                f"{field}: {self.name} is of all excerpts and keeps none of them, which {what_for} needs; name a "
                "reference of the top or bottom rows of the objective's unit"
            )

    def require_neighbours(self, count: int, field: str) -> None:
        """Raises: InvalidArgument for more neighbours than it has rows."""
        if count > self.version.row_count:
            raise InvalidArgument(field, f"got {count}; {self.version.name} keeps {self.version.row_count} rows")

    def require_layers(self, names: Sequence[str], field: str) -> None:
        """Raises: InvalidArgument for one that it does not keep, or a repeated one."""
        kept = [each.name for each in self.layers]
        for index, name in enumerate(names):
            if name not in kept:
                raise InvalidArgument(f"{field}[{index}]", f"is {name!r}; {self.name} keeps {', '.join(kept)}")
            if name in names[:index]:
                raise InvalidArgument(f"{field}[{index}]", f"repeats {name!r}; give each layer once")

    def require_model(self, bundle: BundleMetadata, field: str) -> None:
        """Raises: ReferenceUnusable where its rows hold a layer that the model does not have so."""
        there = {each.name: each.unit_count for each in bundle.layers}
        for each in self.layers:
            if there.get(each.name) != each.unit_count:
                has = f"{there[each.name]} units there" if each.name in there else "which the model does not have"
                raise ReferenceUnusable(
                    f"{field}: {self.name} keeps {each.unit_count} units of layer {each.name!r}, {has}; name a "
                    "reference that was built with this model"
                )
