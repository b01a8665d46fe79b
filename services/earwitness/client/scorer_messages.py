"""Shards and statistics as they travel."""

import hashlib
from collections.abc import Iterator
from typing import TypeVar

from earwitness.client.partials import Partial, VersionStatistics
from earwitness.rpc import tensors
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.vocabulary.limits import MAX_CHUNK_BYTES
from earwitness.vocabulary.messages.reference import reference_value, version_value
from earwitness.vocabulary.score import MeasuredNearness

_ShardPart = TypeVar("_ShardPart", pb.AppendActivationsRequest, pb.MergeStatisticsRequest)


def shard_messages(header: _ShardPart, data: bytes) -> Iterator[_ShardPart]:
    """The message with a shard's header, then those with its bytes in chunks."""
    yield header
    for start in range(0, len(data), MAX_CHUNK_BYTES):
        yield type(header)(chunk=data[start : start + MAX_CHUNK_BYTES])


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


def nearness_value(message: pb.MeasureNearnessResponse) -> MeasuredNearness:
    """What was measured.

    Raises: InvalidArgument for distances that are none.
    """
    distances = tensors.decode(message.distances, "distances", rank=2).astype("<f8", copy=False)
    return MeasuredNearness(distances, tuple(message.layers), version_value(message.version))
