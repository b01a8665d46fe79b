"""What settings are ranked by: criteria as people type them, and the one to use where none is asked for."""

from collections.abc import Sequence

from earwitness.client.values import Criterion, Model, Reference
from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import Layer
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES

BYTES_OF_A_VALUE = 4
FORMS = "unit, layer:NAME, layers:NAME,NAME, nearness, nearness:NAME,NAME"


def criterion_of(words: str) -> Criterion:
    """A criterion as people type it: `unit`, `layer:pool3`, `layers:pool3,conv4`, `nearness`, `nearness:pool3,conv4`.

    Raises: InvalidArgument for anything else, saying what is wrong with it.
    """
    kind, colon, names = words.strip().partition(":")
    layers = tuple(each.strip() for each in names.split(",")) if colon else ()
    if kind not in ("unit", "layer", "layers", "nearness"):
        raise _refused(words, f"there is no criterion {kind!r}")
    if kind == "unit" and colon:
        raise _refused(words, "the unit is the reference's, name none")
    if kind in ("layer", "layers") and not colon:
        raise _refused(words, "it names no layer")
    if not all(layers):
        raise _refused(words, "a layer's name is empty")
    if kind == "layer" and len(layers) > 1:
        raise _refused(words, f"for several write layers:{','.join(layers)}")
    if twice := sorted({each for each in layers if layers.count(each) > 1}):
        raise _refused(words, f"it names {', '.join(twice)} more than once")
    if kind == "unit":
        return Criterion()
    return Criterion("nearness" if kind == "nearness" else "distance", layers)


def criterion_name(criterion: Criterion) -> str:
    """What `criterion_of` takes for it; neighbours and what is allowed are not part of it."""
    if criterion.kind == "unit":
        return "unit"
    if criterion.kind == "nearness":
        return ":".join(["nearness", ",".join(criterion.layers)] if criterion.layers else ["nearness"])
    return f"{'layer' if len(criterion.layers) == 1 else 'layers'}:{','.join(criterion.layers)}"


def require_layers(criterion: Criterion, layers: Sequence[str], of: str) -> None:
    """Raises: InvalidArgument for a layer that is not one of `layers`, those of `of`, a reference or model in words."""
    for name in criterion.layers:
        if name not in layers:
            raise InvalidArgument("criterion", f"names layer {name!r}; {of} has {', '.join(layers)}")


def default_criterion(layers: Sequence[Layer]) -> Criterion:
    """What suits a model of these layers: the places by the distances over all its convolutional layers, pooling ones
    among them, summed; what leaves the real range comes last.

    Single layers are each blind to something: dense ones to what does not concern the output, early ones to how far a
    search has left real audio behind (deploy/evidence/CRITERIA.md). Without convolutional layers it is over all hidden
    ones, of an output alone over the unit.
    """
    convolutional = tuple(each.name for each in layers if each.kind == "conv")
    chosen = convolutional or tuple(each.name for each in layers if each.kind != "output")
    return Criterion("distance", chosen) if chosen else Criterion()


def criterion_for(model: Model, references: Sequence[Reference], value_count: int) -> Criterion | None:
    """What a sweep against these references is ranked by where nobody asked: the default for the model, or None, the
    published distance over the unit, where a reference does not keep the layers, or `value_count` rows in all of them
    are more than a ranking takes."""
    criterion = default_criterion(model.layers)
    kept = [{each.name for each in reference.layers} for reference in references]
    if not kept or not all(layers.issuperset(criterion.layers) for layers in kept):
        return None
    widest = max(reference.width for reference in references)
    return criterion if value_count * widest * BYTES_OF_A_VALUE <= MAX_TENSOR_BYTES else None


def _refused(words: str, why: str) -> InvalidArgument:
    return InvalidArgument("criterion", f"got {words!r}; {why}: give one of {FORMS}, e.g. layer:pool3")
