"""References as the scorer describes them: what they are of, and which activations they keep."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from earwitness.errors import InvalidArgument
from earwitness.vocabulary.model import Model

SelectionKind = Literal["all", "top", "bottom"]


@dataclass(frozen=True)
class Selection:
    """Which real activations a reference keeps: all, or the `k` rows where `unit` is highest or lowest."""

    kind: SelectionKind = "all"
    unit: int | None = None
    k: int | None = None

    def __post_init__(self) -> None:
        given = self.unit is not None and self.k is not None
        if given == (self.kind == "all"):
            raise InvalidArgument("selection", f"{self.kind!r} needs {'no' if given else 'a'} unit and k")

    @property
    def column(self) -> int:
        """The unit; 0 of all rows, where none selects."""
        return self.unit or 0

    @property
    def count(self) -> int:
        """Rows that are kept at most; 0 of all rows, where there is no limit."""
        return self.k or 0

    def __str__(self) -> str:
        return "all" if self.kind == "all" else f"{self.kind}-{self.k} of unit {self.unit}"


ALL = Selection()


@dataclass(frozen=True)
class ReferenceIdentity:
    """What activations a reference is of: scores against anything else are refused."""

    model: str
    weights_sha256: str
    layer: str
    unit_count: int
    feature_profile: str

    @classmethod
    def of_model(cls, model: Model, layer: str) -> "ReferenceIdentity":
        """The identity of one layer of a model.

        Raises: InvalidArgument naming the layers there are.
        """
        found = model.layer(layer)
        return cls(model.name, model.weights_sha256, found.name, found.unit_count, model.feature_profile)


@dataclass(frozen=True)
class ReferenceVersion:
    """An immutable state of a reference; `selected_count` is the n of its statistics."""

    name: str
    row_count: int
    selected_count: int
    create_time: datetime
    unit_minimum: float | None
    unit_maximum: float | None


@dataclass(frozen=True)
class KeptLayer:
    """A layer of which the rows of a reference hold all activations."""

    name: str
    unit_count: int


@dataclass(frozen=True)
class Reference:
    """Statistics of real activations at one layer of one model, as the scorer describes them."""

    name: str
    identity: ReferenceIdentity
    selection: Selection
    description: str
    row_count: int
    shard_count: int
    versions: tuple[ReferenceVersion, ...]
    """Oldest first."""
    etag: str
    create_time: datetime
    kept_layers: tuple[KeptLayer, ...] = ()
    """Layers whose activations its rows hold, in the order of their columns; none where it is its own layer alone."""

    @property
    def layers(self) -> tuple[KeptLayer, ...]:
        """What a row holds: `kept_layers`, or its own layer."""
        return self.kept_layers or (KeptLayer(self.identity.layer, self.identity.unit_count),)

    @property
    def width(self) -> int:
        """Activations of a row."""
        return sum(each.unit_count for each in self.layers)
