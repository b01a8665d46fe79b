"""References as they travel."""

from datetime import UTC

from earwitness.rpc.times import timestamp
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.vocabulary.names import MODELS, REFERENCES, resource, short
from earwitness.vocabulary.reference import KeptLayer, Reference, ReferenceIdentity, ReferenceVersion, Selection


def selection_message(selection: Selection) -> pb.Selection:
    """The message of a selection."""
    if selection.unit is None or selection.k is None:
        return pb.Selection(all=pb.Selection.All())
    extreme = pb.Selection.Extreme(unit=selection.unit, k=selection.k)
    return pb.Selection(top=extreme) if selection.kind == "top" else pb.Selection(bottom=extreme)


def selection_value(message: pb.Selection) -> Selection:
    """A selection; all where none is said."""
    match message.WhichOneof("kind"):
        case "top":
            return Selection("top", message.top.unit, message.top.k)
        case "bottom":
            return Selection("bottom", message.bottom.unit, message.bottom.k)
        case _:
            return Selection()


def kept_layer_values(message: pb.Reference) -> tuple[KeptLayer, ...]:
    """As given; none where it is the layer alone, which is what none means."""
    kept = tuple(KeptLayer(each.name, each.unit_count) for each in message.kept_layers)
    return () if kept == (KeptLayer(message.layer, message.unit_count),) else kept


def reference_message(reference: Reference) -> pb.Reference:
    """A reference with its versions."""
    identity = reference.identity
    return pb.Reference(
        name=resource(REFERENCES, reference.name),
        model=resource(MODELS, identity.model),
        weights_sha256=identity.weights_sha256,
        layer=identity.layer,
        unit_count=identity.unit_count,
        feature_profile=identity.feature_profile,
        selection=selection_message(reference.selection),
        description=reference.description,
        row_count=reference.row_count,
        shard_count=reference.shard_count,
        versions=map(version_message, reference.versions),
        etag=reference.etag,
        create_time=timestamp(reference.create_time),
        kept_layers=[pb.KeptLayer(name=each.name, unit_count=each.unit_count) for each in reference.kept_layers],
    )


def reference_value(message: pb.Reference) -> Reference:
    """A reference with its versions, oldest first."""
    return Reference(
        name=short(message.name),
        identity=ReferenceIdentity(
            model=short(message.model),
            weights_sha256=message.weights_sha256,
            layer=message.layer,
            unit_count=message.unit_count,
            feature_profile=message.feature_profile,
        ),
        selection=selection_value(message.selection),
        description=message.description,
        row_count=message.row_count,
        shard_count=message.shard_count,
        versions=tuple(map(version_value, message.versions)),
        etag=message.etag,
        create_time=message.create_time.ToDatetime(UTC),
        kept_layers=kept_layer_values(message),
    )


def version_message(version: ReferenceVersion) -> pb.ReferenceVersion:
    """A frozen version."""
    return pb.ReferenceVersion(
        name=version.name,
        row_count=version.row_count,
        selected_count=version.selected_count,
        create_time=timestamp(version.create_time),
        unit_minimum=version.unit_minimum,
        unit_maximum=version.unit_maximum,
    )


def version_value(message: pb.ReferenceVersion) -> ReferenceVersion:
    """A frozen version."""
    return ReferenceVersion(
        name=message.name,
        row_count=message.row_count,
        selected_count=message.selected_count,
        create_time=message.create_time.ToDatetime(UTC),
        unit_minimum=message.unit_minimum if message.HasField("unit_minimum") else None,
        unit_maximum=message.unit_maximum if message.HasField("unit_maximum") else None,
    )
