"""References as values: what identifies one, what it holds, and which values are allowed."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np

from earwitness.errors import InvalidArgument
from earwitness.rpc.validate import new_resource_id, require_range, require_text, sha256_hex
from earwitness.scorer.errors import EtagMismatch, NotFrozen, ReferenceMismatch, VersionNotFound
from earwitness.scorer.layers import Layout
from earwitness.scorer.selection import MAX_SELECTED, MIN_SELECTED
from earwitness.vocabulary.reference import KeptLayer, Selection

MAX_UNITS = 4096
MAX_PARTIAL_ROWS = 10**12
MAX_PARTIAL_BYTES = 160 * 2**20
"""More than the statistics of any reference take: 10 000 rows of 4096 units have 156 MiB; FP64 ones twice that."""
MAX_NAME_CHARS = 200
MAX_DESCRIPTION_CHARS = 1000
LARGEST = float(np.finfo(np.float32).max)
"""What an activation may reach: squares of such numbers, and sums of squares, stay within float64."""
Datatype = Literal["FP32", "FP64"]
"""KServe v2 names of the types that numbers travel and are kept in."""


@dataclass(frozen=True)
class Source:
    """Where activations come from: `model` is the id, without "models/"; `unit_count` that of the layer; of a batch
    that holds the compared unit alone 1, of one that holds all layers of a reference that of them together."""

    model: str
    weights_sha256: str
    layer: str
    unit_count: int


@dataclass(frozen=True)
class NewReference:
    """What the caller fixes when a reference is created.

    `kept_layers` are those that a row holds, `source.layer` among them; none where that is the only one.
    """

    reference_id: str
    source: Source
    feature_profile: str
    selection: Selection
    description: str
    kept_layers: tuple[KeptLayer, ...] = ()

    @property
    def layout(self) -> Layout:
        """What a row is made of."""
        return Layout.of(self.source.layer, self.source.unit_count, self.kept_layers)


@dataclass(frozen=True)
class Version:
    """An immutable state of a reference; `number` counts from 1.

    `unit_minimum` and `unit_maximum` are those of the selection's unit among the selected rows.
    """

    number: int
    row_count: int
    selected_count: int
    create_time: datetime
    unit_minimum: float | None
    unit_maximum: float | None


VersionKey = tuple[int, Version]
"""What no other version ever has, not even one of the same name and number in a store that was restored meanwhile: the
reference's key, and when the version was made and of what."""


@dataclass(frozen=True)
class Reference:
    """A reference as it is now; versions are oldest first.

    `key` and `last_shard`, that of the newest shard, are the store's own, never used twice, even where the store was
    restored from a backup meanwhile.
    """

    key: int
    content: NewReference
    row_count: int
    shard_count: int
    last_shard: int
    versions: tuple[Version, ...]
    create_time: datetime

    @property
    def reference_id(self) -> str:
        """Last part of the resource name."""
        return self.content.reference_id

    @property
    def etag(self) -> str:
        """Shards and versions are only ever added, so their counts distinguish all states; but a restored store may
        come to the same counts in another way, so the newest of each are in it, too."""
        newest = self.versions[-1].create_time.isoformat() if self.versions else ""
        state = f"{self.key}:{self.shard_count}:{self.last_shard}:{len(self.versions)}:{newest}"
        return f'"{hashlib.blake2b(state.encode(), digest_size=8).hexdigest()}"'

    def require_etag(self, given: str) -> None:
        """Raises: EtagMismatch unless `given` is empty or the etag."""
        if given and given != self.etag:
            raise EtagMismatch(self.reference_id, given, self.etag)

    def require_source(self, batch: Source, unit: int | None) -> None:
        """Refuse a batch that does not fit, of which one `unit` is compared, or with None all of the layer.

        Raises: ReferenceMismatch unless it has the reference's model, weights, layer and units, or of these the
        compared one alone, or those of all layers that it keeps; InvalidArgument for a unit that the layer has not.
        """
        own, width = self.content.source, self.content.layout.width
        alone = unit is not None and batch.unit_count == 1
        if alone or batch.unit_count == width:
            batch = replace(batch, unit_count=own.unit_count)
        self._require_same(
            ("model", f"models/{batch.model}", f"models/{own.model}"),
            ("weights_sha256", batch.weights_sha256, own.weights_sha256),
            ("layer", batch.layer, own.layer),
        )
        if batch.unit_count != own.unit_count:
            expected = str(own.unit_count) if width == own.unit_count else f"{own.unit_count}, or {width} of all layers"
            raise ReferenceMismatch(self.reference_id, "unit_count", batch.unit_count, expected)
        if unit is not None:
            require_range(unit, "unit", at_least=0, at_most=own.unit_count - 1)

    def require_whole_rows(self, model: str, weights_sha256: str, unit_count: int) -> None:
        """Refuse rows that do not hold all layers.

        Raises: ReferenceMismatch unless they have the reference's model and weights, and the units of its layers.
        """
        own, width = self.content.source, self.content.layout.width
        self._require_same(
            ("model", f"models/{model}", f"models/{own.model}"),
            ("weights_sha256", weights_sha256, own.weights_sha256),
            ("unit_count", unit_count, width),
        )

    def version(self, number: int) -> Version:
        """Raises: VersionNotFound."""
        if not 1 <= number <= len(self.versions):
            raise VersionNotFound(self.reference_id, number, len(self.versions))
        return self.versions[number - 1]

    def newest_or(self, number: int | None) -> Version:
        """The newest version unless `number` names another. Raises: VersionNotFound; NotFrozen."""
        if number is None and not self.versions:
            raise NotFrozen(self.reference_id)
        return self.version(number or len(self.versions))

    def version_key(self, version: Version) -> VersionKey:
        """By which one of its versions is remembered."""
        return self.key, version

    def _require_same(self, *identity: tuple[str, object, object]) -> None:
        """Raises: ReferenceMismatch for the first (field, given, expected) where the two differ."""
        for field, given, expected in identity:
            if given != expected:
                raise ReferenceMismatch(self.reference_id, field, given, expected)


@dataclass(frozen=True)
class Shard:
    """What is said of a shard before its rows come."""

    shard_id: str
    row_count: int
    sha256: str
    datatype: Datatype = "FP32"

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of its numbers, little-endian."""
        return np.dtype("<f4") if self.datatype == "FP32" else np.dtype("<f8")


def require_new_reference(new: NewReference) -> None:
    """Raises: InvalidArgument for the first field of a CreateReferenceRequest that is not allowed."""
    new_resource_id(new.reference_id, "reference_id")
    sha256_hex(new.source.weights_sha256, "reference.weights_sha256")
    require_name(new.source.layer, "reference.layer")
    require_range(new.source.unit_count, "reference.unit_count", at_least=1, at_most=MAX_UNITS)
    _require_kept_layers(new)
    require_name(new.feature_profile, "reference.feature_profile")
    require_text(new.description, "reference.description", max_chars=MAX_DESCRIPTION_CHARS)
    if new.selection.kind != "all":
        field = f"reference.selection.{new.selection.kind}"
        require_range(new.selection.column, f"{field}.unit", at_least=0, at_most=new.source.unit_count - 1)
        require_range(new.selection.count, f"{field}.k", at_least=MIN_SELECTED, at_most=MAX_SELECTED)


def _require_kept_layers(new: NewReference) -> None:
    """Raises: InvalidArgument."""
    field, own, counts = "reference.kept_layers", new.source, dict[str, int]()
    for index, each in enumerate(new.kept_layers):
        require_name(each.name, f"{field}[{index}].name")
        require_range(each.unit_count, f"{field}[{index}].unit_count", at_least=1, at_most=MAX_UNITS)
        if each.name in counts:
            raise InvalidArgument(f"{field}[{index}].name", f"is {each.name!r} once more; name each layer once")
        counts[each.name] = each.unit_count
    if counts and own.layer not in counts:
        raise InvalidArgument(
            field, f"are {', '.join(counts)}; the reference's layer, {own.layer}, must be one of them"
        )
    if counts and counts[own.layer] != own.unit_count:
        raise InvalidArgument(
            field, f"give {own.layer} {counts[own.layer]} units, reference.unit_count says {own.unit_count}"
        )
    if sum(counts.values()) > MAX_UNITS:
        raise InvalidArgument(
            field, f"have {sum(counts.values())} units together; at most {MAX_UNITS}: keep fewer layers"
        )


def require_shard(shard: Shard, max_rows: int) -> None:
    """Raises: InvalidArgument for the first field of a header that is not allowed."""
    require_name(shard.shard_id, "header.shard_id")
    require_range(shard.row_count, "header.row_count", at_least=1, at_most=max_rows)
    sha256_hex(shard.sha256, "header.sha256")


def require_name(value: str, field: str) -> str:
    """A name of 1 to 200 printable characters, on one line.

    Raises: InvalidArgument.
    """
    if not value.isprintable():
        raise InvalidArgument(field, "must be printable characters on one line")
    return require_text(value, field, min_chars=1, max_chars=MAX_NAME_CHARS)
