"""Messages to values and back; every refusal names the request's field."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar, get_args

from earwitness.errors import InvalidArgument
from earwitness.rpc.tensors import decode
from earwitness.rpc.validate import resource_id, sha256_hex, versioned_id
from earwitness.scorer.comparing import Batch, Batches, NearRows
from earwitness.scorer.partials import Form
from earwitness.scorer.reads import Reading
from earwitness.scorer.references import (
    Datatype,
    NewReference,
    Reference,
    Shard,
    Source,
    Version,
    require_name,
)
from earwitness.scorer.statistics import Rows
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.vocabulary import reference as vocabulary
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES
from earwitness.vocabulary.messages import reference as codec
from earwitness.vocabulary.messages.reference import kept_layer_values, selection_value
from earwitness.vocabulary.messages.score import criterion_value
from earwitness.vocabulary.score import PUBLISHED, Criterion

MAX_BATCHES = 1000

_FORMS: Mapping[Form, pb.PartialForm.ValueType] = {
    "moments": pb.PARTIAL_FORM_MOMENTS,
    "rows": pb.PARTIAL_FORM_ROWS,
}

_Part = TypeVar("_Part")
_ShardPart = TypeVar("_ShardPart", pb.AppendActivationsRequest, pb.MergeStatisticsRequest)


def reference_id(name: str, field: str) -> str:
    """Raises: InvalidArgument."""
    return resource_id(name, "references", field)


def versioned_reference_id(name: str, field: str) -> tuple[str, int | None]:
    """Id and version number, None where the name has none. Raises: InvalidArgument."""
    return versioned_id(name, "references", field)


def model_id(name: str, field: str) -> str:
    """Raises: InvalidArgument."""
    return resource_id(name, "models", field)


def new_reference(request: pb.CreateReferenceRequest) -> NewReference:
    """Raises: InvalidArgument for a model that is no resource name or a selection that is none."""
    message = request.reference
    if message.selection.WhichOneof("kind") is None:
        raise InvalidArgument("reference.selection", "is not set; must be one of all, top or bottom")
    return NewReference(
        reference_id=request.reference_id,
        source=Source(
            model=model_id(message.model, "reference.model"),
            weights_sha256=message.weights_sha256,
            layer=message.layer,
            unit_count=message.unit_count,
        ),
        feature_profile=message.feature_profile,
        selection=selection_value(message.selection),
        description=message.description,
        kept_layers=kept_layer_values(message),
    )


def batch(request: pb.ScoreRequest) -> Batch:
    """Raises: InvalidArgument."""
    rows = decode(request.activations, "activations", rank=2)
    unit = request.unit if request.HasField("unit") else None
    return Batch(_source(request, rows.shape[1]), rows, unit, request.seed)


def batches(request: pb.RankRequest) -> Batches:
    """Raises: InvalidArgument for the first batch that does not fit the others, too."""
    count = len(request.batches)
    if not 1 <= count <= MAX_BATCHES:
        raise InvalidArgument("batches", f"has {count}; must have 1 to {MAX_BATCHES}")
    byte_count = sum(len(each.activations.data) for each in request.batches)
    if byte_count > MAX_TENSOR_BYTES:
        raise InvalidArgument(
            "batches",
            f"hold {byte_count} bytes of activations; at most {MAX_TENSOR_BYTES}: rank fewer at once, or of `unit` "
            "send the column alone",
        )
    rows: dict[str, Rows] = {}
    for index, each in enumerate(request.batches):
        field = f"batches[{index}]"
        batch_id = require_name(each.id, f"{field}.id")
        if batch_id in rows:
            raise InvalidArgument(f"{field}.id", f"is {batch_id!r} like that of another batch; each must be different")
        rows[batch_id] = decode(each.activations, f"{field}.activations", rank=2)
        given, first = rows[batch_id].shape, next(iter(rows.values())).shape
        if given != first:
            raise InvalidArgument(
                f"{field}.activations.shape",
                f"is {list(given)}, that of batches[0] is {list(first)}; a distance is biased by the number of rows: "
                "rank batches of equal shape only",
            )
    unit = request.unit if request.HasField("unit") else None
    return Batches(_source(request, first[1]), rows, unit, request.seed, _criterion(request))


def near_rows(request: pb.MeasureNearnessRequest) -> NearRows:
    """Raises: InvalidArgument."""
    byte_count = len(request.activations.data)
    if byte_count > MAX_TENSOR_BYTES:
        raise InvalidArgument(
            "activations.data", f"has {byte_count} bytes; at most {MAX_TENSOR_BYTES}: measure fewer rows at once"
        )
    rows = decode(request.activations, "activations", rank=2)
    return NearRows(
        model=model_id(request.model, "model"),
        weights_sha256=sha256_hex(request.weights_sha256, "weights_sha256"),
        rows=rows,
        layers=tuple(request.layers),
        neighbour_count=request.neighbour_count,
    )


async def within(parts: AsyncIterator[_Part], idle_s: float) -> AsyncIterator[_Part]:
    """The parts of a caller's stream, each of which has `idle_s` seconds to come. Raises: TimeoutError."""
    while True:
        async with asyncio.timeout(idle_s):
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                return
        yield part


async def header(parts: AsyncIterator[_ShardPart], none: _ShardPart) -> _ShardPart:
    """The first part, which must be a header; it is `none` where there is no part. Raises: InvalidArgument."""
    first = await anext(parts, none)
    if first.WhichOneof("part") != "header":
        raise InvalidArgument("header", "is missing; the first message must be the shard's header")
    return first


def shard(header: pb.ShardHeader | pb.PartialHeader) -> tuple[str, Shard]:
    """Reference id and shard of a header. Raises: InvalidArgument."""
    datatype = next((name for name in get_args(Datatype) if name == (header.datatype or "FP32")), None)
    if datatype is None:
        raise InvalidArgument("header.datatype", f"is {header.datatype!r}; must be 'FP32' or 'FP64'")
    about = Shard(header.shard_id, header.row_count, header.sha256, datatype)
    return reference_id(header.reference, "header.reference"), about


def form(header: pb.PartialHeader) -> Form:
    """What the bytes of a partial are. Raises: InvalidArgument where it does not say."""
    for found, value in _FORMS.items():
        if value == header.form:
            return found
    allowed = ", ".join(map(pb.PartialForm.Name, _FORMS.values()))
    raise InvalidArgument("header.form", f"is {header.form}, which is unset or unknown; must be one of {allowed}")


async def chunks(parts: AsyncIterator[_ShardPart]) -> AsyncIterator[bytes]:
    """The chunks after the header. Raises: InvalidArgument for anything else."""
    async for part in parts:
        if part.WhichOneof("part") != "chunk" or not part.chunk:
            raise InvalidArgument(
                "chunk", "is missing; every message after the header must be a chunk of 1 or more bytes"
            )
        yield part.chunk


def reference_message(reference: Reference) -> pb.Reference:
    """The reference as callers see it."""
    content, name = reference.content, reference.reference_id
    source = content.source
    return codec.reference_message(
        vocabulary.Reference(
            name=name,
            identity=vocabulary.ReferenceIdentity(
                source.model, source.weights_sha256, source.layer, source.unit_count, content.feature_profile
            ),
            selection=content.selection,
            description=content.description,
            row_count=reference.row_count,
            shard_count=reference.shard_count,
            versions=tuple(_told(name, version) for version in reference.versions),
            etag=reference.etag,
            create_time=reference.create_time,
            kept_layers=content.kept_layers,
        )
    )


def version_message(of_reference_id: str, version: Version) -> pb.ReferenceVersion:
    """A version as callers see it."""
    return codec.version_message(_told(of_reference_id, version))


def _told(of_reference_id: str, version: Version) -> vocabulary.ReferenceVersion:
    return vocabulary.ReferenceVersion(
        name=f"references/{of_reference_id}/versions/{version.number}",
        row_count=version.row_count,
        selected_count=version.selected_count,
        create_time=version.create_time,
        unit_minimum=version.unit_minimum,
        unit_maximum=version.unit_maximum,
    )


async def statistics_messages(reading: Reading) -> AsyncIterator[pb.ReadStatisticsResponse]:
    """The header of a version's statistics, then their bytes in chunks."""
    yield pb.ReadStatisticsResponse(
        header=pb.StatisticsHeader(
            reference=reference_message(reading.reference),
            version=version_message(reading.reference.reference_id, reading.version),
            sha256=reading.statistics.sha256,
            form=_FORMS[reading.statistics.form],
            datatype=reading.statistics.datatype,
        )
    )
    async for chunk in reading.chunks:
        yield pb.ReadStatisticsResponse(chunk=chunk)


def _source(request: pb.ScoreRequest | pb.RankRequest, unit_count: int) -> Source:
    return Source(
        model=model_id(request.model, "model"),
        weights_sha256=sha256_hex(request.weights_sha256, "weights_sha256"),
        layer=require_name(request.layer, "layer"),
        unit_count=unit_count,
    )


def _criterion(request: pb.RankRequest) -> Criterion:
    if not request.HasField("criterion"):
        return PUBLISHED
    criterion = criterion_value(request.criterion)
    if criterion.kind == "distance" and not criterion.layers:
        raise InvalidArgument("criterion.layer_distance.layers", "is empty; name one layer or more")
    return criterion
