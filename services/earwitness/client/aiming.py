"""What a search is given beside what its caller asks for: a reference that it goes by, and rows to choose among."""

from dataclasses import replace

from earwitness.client.values import (
    Model,
    Nearness,
    Recommendation,
    Reference,
    Row,
    Search,
    Settings,
)
from earwitness.errors import InvalidArgument
from earwitness.vocabulary.names import short
from earwitness.vocabulary.search import require_seeds

ROWS = 256
"""Rows that a search has at most, unless its explainer is configured otherwise."""


def aimed(
    search: Search, model: Model, reference: Reference | None, asked: str, oversampling: int | None, nearness: Nearness
) -> Search:
    """The search, with `asked`, a name of `reference`, where it has a use for it, and `oversampling` times its rows, of
    which as many come back as it has.

    Without `oversampling` it is what the model recommends for these settings, where the reference keeps more than one
    layer to measure nearness in, and 1 else.

    Raises: InvalidArgument for what nothing keeps rows for.
    """
    if search.objective is None:
        raise InvalidArgument("search.objective", "is needed: one objective for all rows")
    found = _followed(search.settings, model.recommendation(search.objective))
    keeps = reference is not None and reference.selection.kind != "all"
    _require_rows(search.settings, oversampling, nearness, reference, keeps=keeps)
    if oversampling is None:
        oversampling = _recommended(found, len(search.rows), reference) if keeps else 1
    if oversampling > 1:
        search = _oversampled(search, oversampling, nearness)
    elif nearness != Nearness():
        raise InvalidArgument(_asks(nearness), "says which of more rows are kept; give --oversample 2 or more")
    uses = search.keep_count or _goes_by_reference(search.settings, found)
    return replace(search, reference=short(asked)) if keeps and uses else search


def _require_rows(
    settings: Settings, oversampling: int | None, nearness: Nearness, reference: Reference | None, *, keeps: bool
) -> None:
    """Raises: InvalidArgument for what asks for a reference's rows where none keeps any."""
    if oversampling and oversampling > 1:
        asks, for_what = "oversample", "nearness is measured to the rows that it keeps"
    elif nearness != Nearness():
        asks, for_what = _asks(nearness), "nearness is measured to the rows that it keeps"
    elif settings.target is not None and settings.target.quantile:
        asks, for_what = "settings.target", "quantiles are of the rows that it keeps"
    else:
        return
    if reference is None:
        raise InvalidArgument(asks, f"needs a reference: {for_what}; name one (--reference)")
    if not keeps:
        raise InvalidArgument(
            asks,
            f"{reference.name} holds all excerpts and keeps none of them, but {for_what}; build one with --top or "
            "--bottom (`earwitness reference build`)",
        )
    unknown = [name for name in nearness.layers if name not in (held := [each.name for each in reference.layers])]
    if unknown:
        raise InvalidArgument("nearness_layers", f"got {', '.join(unknown)}; {reference.name} keeps {', '.join(held)}")


def _asks(nearness: Nearness) -> str:
    """What of it is given."""
    return "nearness_layers" if nearness.layers else "diversity"


def _followed(settings: Settings, found: Recommendation | None) -> Recommendation | None:
    """The recommendation, where the settings leave something to it."""
    if found is None or settings.optimiser not in (None, found.settings.optimiser):
        return None
    return found


def _goes_by_reference(settings: Settings, found: Recommendation | None) -> bool:
    if settings.target is not None:
        return settings.target.quantile
    return settings == Settings() if found is None else found.settings.target is not None


def _recommended(found: Recommendation | None, row_count: int, reference: Reference | None) -> int:
    if found is None or reference is None or not _several_layers(reference):
        return 1
    return max(1, min(found.oversampling, ROWS // row_count))


def _several_layers(reference: Reference) -> bool:
    """Nearness within the objective's own layer would choose by little more than the activation."""
    return len(reference.layers) > 1


def _oversampled(search: Search, oversampling: int, nearness: Nearness) -> Search:
    """More rows of the seeds after the last."""
    last = max(row.seed for row in search.rows)
    more = (oversampling - 1) * len(search.rows)
    require_seeds(last + 1, more)
    rows = (*search.rows, *(Row(last + 1 + index) for index in range(more)))
    return replace(search, rows=rows, keep_count=len(search.rows), nearness=nearness)
