"""Which layers the rows of a reference hold, and where in a row each of them lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earwitness.errors import InvalidArgument
from earwitness.vocabulary.reference import KeptLayer, Selection


@dataclass(frozen=True)
class Layout:
    """The `layers` whose activations make a row, one after another; the one at `own` is the reference's layer, by one
    of whose units it selects."""

    layers: tuple[KeptLayer, ...]
    own: int = 0

    @classmethod
    def of(cls, layer: str, unit_count: int, kept: Sequence[KeptLayer] = ()) -> "Layout":
        """That of `kept`, one of which is `layer`, or of `layer` alone."""
        names = [each.name for each in kept]
        return cls(tuple(kept), names.index(layer)) if kept else cls((KeptLayer(layer, unit_count),))

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the layers, in order."""
        return tuple(each.name for each in self.layers)

    @property
    def width(self) -> int:
        """Activations of a row."""
        return sum(each.unit_count for each in self.layers)

    def columns(self, index: int) -> slice:
        """Where the layer at `index` lies."""
        start = sum(each.unit_count for each in self.layers[:index])
        return slice(start, start + self.layers[index].unit_count)

    def places(self, names: Sequence[str], field: str) -> tuple[int, ...]:
        """Where the layers of these names are among its own; all of them where none is named.

        Raises: InvalidArgument naming `field` for one that it has not, or that is named twice.
        """
        for index, name in enumerate(names):
            if name not in self.names:
                raise InvalidArgument(f"{field}[{index}]", f"is {name!r}; the reference keeps {', '.join(self.names)}")
            if name in names[:index]:
                raise InvalidArgument(f"{field}[{index}]", f"is {name!r} once more; name each layer once")
        return tuple(map(self.names.index, names or self.names))

    def in_rows(self, selection: Selection) -> Selection:
        """A selection by a unit of the reference's layer as one by a column of the row."""
        if selection.kind == "all":
            return selection
        return replace(selection, unit=self.columns(self.own).start + selection.column)

    def words(self, column: int) -> str:
        """What a column of the row is."""
        if len(self.layers) == 1:
            return f"unit {column}"
        found = next(index for index in range(len(self.layers)) if column < self.columns(index).stop)
        return f"unit {column - self.columns(found).start} of {self.layers[found].name}"
