"""Whether a reference fits what is to be compared with it."""

from earwitness.client.values import Objective, Reference
from earwitness.errors import InvalidArgument


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
    """Raises: InvalidArgument for one that selects by another unit, or by the other end of it, than settings are to be
    chosen for."""
    selection = reference.selection
    if objective.unit is None or selection.kind == "all":
        return
    wanted = "top" if objective.sense == "maximise" else "bottom"
    if (selection.kind, selection.unit) != (wanted, objective.unit):
        raise InvalidArgument(
            "reference",
            f"{reference.name} holds the {selection}, the objective is to {objective.sense} unit {objective.unit}; "
            f"name a reference of its {wanted}, or one of all excerpts",
        )
