"""Which layers of a model the rows of a reference hold."""

from collections.abc import Sequence

import grpc

from earwitness.client.errors import RpcFailure
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import KeptLayer, ReferenceIdentity, Selection
from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import BundleMetadata

MAX_ROW_UNITS = 4096
"""Activations of a row that the scorer takes, of all layers together."""


async def kept_layers(
    scorer: ScorerClient,
    name: str,
    bundle: BundleMetadata,
    identity: ReferenceIdentity,
    selection: Selection,
    asked: Sequence[str] | None,
) -> tuple[KeptLayer, ...]:
    """What the rows of a build hold: as asked, as the reference of that name has it, or as a new one has by default.

    None where it is the identity's layer alone.

    Raises: InvalidArgument as `chosen_layers`; RpcFailure.
    """
    if asked is not None:
        return chosen_layers(bundle, identity.layer, asked)
    try:
        existing = await scorer.get_reference(name)
    except RpcFailure as failure:
        # What is no name is refused where the reference is made.
        if failure.code not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
            raise
        return default_layers(bundle, selection)
    # One of another identity is refused when it is opened.
    return existing.kept_layers if existing.identity == identity else ()


def default_layers(bundle: BundleMetadata, selection: Selection) -> tuple[KeptLayer, ...]:
    """What a new reference of top or bottom rows keeps: all layers, where they fit into a row, so that it tells what is
    near to its excerpts as a whole. One of all rows keeps its own layer alone: what it stores grows with the square.
    """
    layers = tuple(KeptLayer(each.name, each.unit_count) for each in bundle.layers)
    return layers if selection.kind != "all" and _width(layers) <= MAX_ROW_UNITS else ()


def chosen_layers(bundle: BundleMetadata, layer: str, names: Sequence[str]) -> tuple[KeptLayer, ...]:
    """`layer` and those of these names, in the bundle's order; none where it is `layer` alone.

    Raises: InvalidArgument for a layer that the bundle has not, and for more than a row holds.
    """
    known = [each.name for each in bundle.layers]
    if unknown := [name for name in names if name not in known]:
        raise InvalidArgument("keep_layers", f"got {', '.join(unknown)}; {bundle.name} has {', '.join(known)}")
    held = {layer, *names}
    kept = tuple(KeptLayer(each.name, each.unit_count) for each in bundle.layers if each.name in held)
    if _width(kept) > MAX_ROW_UNITS:
        raise InvalidArgument(
            "keep_layers", f"have {_width(kept)} units together; at most {MAX_ROW_UNITS}: keep fewer layers"
        )
    return kept if len(kept) > 1 else ()


def _width(layers: Sequence[KeptLayer]) -> int:
    return sum(each.unit_count for each in layers)
