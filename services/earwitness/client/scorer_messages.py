"""The scorer's protobuf messages to plain values and back."""

import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import TypeVar

from earwitness.client import values
from earwitness.client.partials import Partial, VersionStatistics
from earwitness.rpc import tensors
from earwitness.scorer.v1 import scorer_pb2 as pb

CHUNK_BYTES = 1024 * 1024
"""The most a chunk of a shard may hold."""
MAX_TENSOR_BYTES = 15 * 1024 * 1024
"""The most numbers that a request may hold."""
_ShardPart = TypeVar("_ShardPart", pb.AppendActivationsRequest, pb.MergeStatisticsRequest)


def selection_message(selection: values.Selection) -> pb.Selection:
    """The message of a selection."""
    if selection.kind == "all":
        return pb.Selection(all=pb.Selection.All())
    assert selection.unit is not None
    assert selection.k is not None
    extreme = pb.Selection.Extreme(unit=selection.unit, k=selection.k)
    return pb.Selection(top=extreme) if selection.kind == "top" else pb.Selection(bottom=extreme)


def shard_messages(header: _ShardPart, data: bytes) -> Iterator[_ShardPart]:
    """The message with a shard's header, then those with its bytes in chunks."""
    yield header
    for start in range(0, len(data), CHUNK_BYTES):
        yield type(header)(chunk=data[start : start + CHUNK_BYTES])


def partial_form(partial: Partial) -> pb.PartialForm.ValueType:
    """What the bytes of a partial are."""
    return pb.PARTIAL_FORM_MOMENTS if partial.moments is not None else pb.PARTIAL_FORM_ROWS


def statistics_value(header: pb.StatisticsHeader, data: bytes) -> VersionStatistics:
    """The statistics of a version.

    Raises: ValueError when the bytes are not those of the header.
    """
    if hashlib.sha256(data).hexdigest() != header.sha256:
        raise ValueError(f"{len(data)} bytes came that are not those announced")
    reference, version = reference_value(header.reference), version_value(header.version)
    row_count, unit_count = version.row_count, reference.width
    if header.form == pb.PARTIAL_FORM_MOMENTS:
        partial = Partial.of_moment_bytes(data, row_count, unit_count)
    else:
        partial = Partial.of_row_bytes(data, row_count, unit_count, header.datatype or "FP32")
    return VersionStatistics(reference, version, partial)


def reference_value(message: pb.Reference) -> values.Reference:
    """A reference with its versions, oldest first."""
    return values.Reference(
        name=message.name.removeprefix("references/"),
        identity=values.ReferenceIdentity(
            model=message.model.removeprefix("models/"),
            weights_sha256=message.weights_sha256,
            layer=message.layer,
            unit_count=message.unit_count,
            feature_profile=message.feature_profile,
        ),
        selection=_selection_value(message.selection),
        description=message.description,
        row_count=message.row_count,
        shard_count=message.shard_count,
        versions=tuple(map(version_value, message.versions)),
        etag=message.etag,
        create_time=message.create_time.ToDatetime(UTC),
        kept_layers=tuple(values.KeptLayer(each.name, each.unit_count) for each in message.kept_layers),
    )


def version_value(message: pb.ReferenceVersion) -> values.ReferenceVersion:
    """A frozen version."""
    return values.ReferenceVersion(
        name=message.name,
        row_count=message.row_count,
        selected_count=message.selected_count,
        create_time=message.create_time.ToDatetime(UTC),
        unit_minimum=message.unit_minimum if message.HasField("unit_minimum") else None,
        unit_maximum=message.unit_maximum if message.HasField("unit_maximum") else None,
    )


def score_value(message: pb.Score) -> values.Score:
    """A score, field by field."""
    return values.Score(
        distance=message.distance,
        mean_term=message.mean_term,
        covariance_term=message.covariance_term,
        row_count=message.row_count,
        reference_row_count=message.reference_row_count,
        dimension_count=message.dimension_count,
        rank=message.rank,
        rank_deficient=message.rank_deficient,
        interval_low=message.interval_low,
        interval_high=message.interval_high,
        noise_floor=message.noise_floor,
        noise_floor_high=message.noise_floor_high,
        outside_range_ratio=message.outside_range_ratio,
    )


def ranked_value(message: pb.RankedBatch) -> values.RankedBatch:
    """A batch with its place."""
    return values.RankedBatch(
        id=message.id,
        rank=message.rank,
        score=score_value(message.score),
        probability_best=message.probability_best,
        leaves_range=message.leaves_range,
        criterion_value=message.criterion_value,
    )


def nearness_value(message: pb.MeasureNearnessResponse) -> values.MeasuredNearness:
    """What was measured.

    Raises: InvalidArgument for distances that are none.
    """
    distances = tensors.decode(message.distances, "distances", rank=2).astype("<f8", copy=False)
    return values.MeasuredNearness(distances, tuple(message.layers), version_value(message.version))


def criterion_message(criterion: values.Criterion) -> pb.Criterion:
    """The message of a criterion."""
    message = pb.Criterion(outside_range_allowed=criterion.outside_range_allowed)
    if criterion.kind == "distance":
        message.layer_distance.CopyFrom(pb.Criterion.LayerDistance(layers=criterion.layers))
    elif criterion.kind == "nearness":
        message.layer_nearness.CopyFrom(
            pb.Criterion.LayerNearness(layers=criterion.layers, neighbour_count=criterion.neighbour_count)
        )
    return message


def criterion_value(message: pb.Criterion) -> values.Criterion:
    """A criterion."""
    allowed = message.outside_range_allowed
    kind = message.WhichOneof("kind")
    if kind == "layer_distance":
        return values.Criterion("distance", tuple(message.layer_distance.layers), outside_range_allowed=allowed)
    if kind == "layer_nearness":
        nearness = message.layer_nearness
        return values.Criterion("nearness", tuple(nearness.layers), nearness.neighbour_count, allowed)
    return values.Criterion(outside_range_allowed=allowed)


def _selection_value(message: pb.Selection) -> values.Selection:
    kind = message.WhichOneof("kind")
    if kind == "top":
        return values.Selection("top", message.top.unit, message.top.k)
    if kind == "bottom":
        return values.Selection("bottom", message.bottom.unit, message.bottom.k)
    return values.Selection()
