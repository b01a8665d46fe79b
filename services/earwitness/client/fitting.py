"""Whether a reference fits what is to be compared with it."""

from collections.abc import Sequence

from earwitness.client.scorer import ScorerClient
from earwitness.client.values import Model, Objective, Reference
from earwitness.errors import InvalidArgument
from earwitness.vocabulary.names import short


def require_source(reference: Reference, model: str, weights_sha256: str, layer: str) -> None:
    """Raises: InvalidArgument for a reference of another model or layer, or of other weights."""
    theirs = reference.identity
    if (theirs.model, theirs.weights_sha256, theirs.layer) != (model, weights_sha256, layer):
        raise InvalidArgument(
            "reference",
            f"{reference.name} is of {theirs.layer} of {theirs.model} (weights {theirs.weights_sha256[:12]}), the "
            f"search is of {layer} of {model} (weights {weights_sha256[:12]}); "
            "`earwitness reference list` shows the others",
        )


def require_selection(reference: Reference, objective: Objective) -> None:
    """Raises: InvalidArgument for one that selects by another unit, or by the other end of it, than is searched."""
    if misfit := selection_misfit(reference, objective):
        raise InvalidArgument("reference", misfit)


async def fitting(
    scorer: ScorerClient, model: Model, names: Sequence[str], objectives: Sequence[Objective]
) -> list[str]:
    """For each objective the first of `names` whose reference fits it, whatever their order.

    Raises: InvalidArgument where none does; RpcFailure.
    """
    found = {name: await scorer.get_reference(short(name).partition("/")[0]) for name in names}
    chosen = []
    for objective in objectives:
        misfits = {name: selection_misfit(reference, objective) for name, reference in found.items()}
        fits = [name for name, misfit in misfits.items() if not misfit]
        if not fits:
            raise InvalidArgument("reference", "; ".join(misfits.values()))
        require_source(found[fits[0]], model.name, model.weights_sha256, objective.layer)
        chosen.append(fits[0])
    return chosen


def selection_misfit(reference: Reference, objective: Objective) -> str:
    """That a reference selects by another unit than is searched, or by the other end of it, in words; else nothing."""
    selection = reference.selection
    if objective.unit is None or selection.kind == "all":
        return ""
    wanted = "top" if objective.sense == "maximise" else "bottom"
    if (selection.kind, selection.unit) == (wanted, objective.unit):
        return ""
    return (
        f"{reference.name} holds the {selection}, the objective is to {objective.sense} unit {objective.unit}; "
        f"name a reference of its {wanted}, or one of all excerpts"
    )


def comparison_misfit(reference: Reference, unit: int | None) -> str:
    """That a reference selects by another unit than the one compared, in words; else nothing."""
    selection = reference.selection
    if unit is None or selection.kind == "all" or selection.unit == unit:
        return ""
    return (
        f"{reference.name} holds the {selection}: it shows what unit {unit} does in those excerpts, not how far it "
        "goes; name a reference that selects by it, or one of all excerpts"
    )
