"""Makes an immutable version of what a reference holds now."""

from datetime import UTC, datetime

from earwitness.scorer.collect import Collector, Frozen, collector
from earwitness.scorer.errors import TooFewRows
from earwitness.scorer.frechet import MIN_ROWS
from earwitness.scorer.references import Reference, Version
from earwitness.scorer.store import FreezePlan, ReferenceStore


def freeze(store: ReferenceStore, reference_id: str, etag: str) -> Version:
    """The new version, or the newest one when no shard came since.

    The numbers are made outside of any transaction: the D x D eigenproblem may take a minute, and nobody waits for it.

    Raises: ReferenceNotFound; TooFewRows; EtagMismatch unless `etag` is "" or current; StoreUnavailable.
    """
    while True:
        plan = store.plan_freeze(reference_id, etag)
        reference = plan.reference
        if reference.versions and not plan.segments:
            return reference.versions[-1]
        selection = reference.content.selection
        needed = MIN_ROWS if selection.kind == "all" else selection.k
        if reference.row_count < needed:
            raise TooFewRows(reference_id, reference.row_count, needed, selection.kind)
        collected = _collect(store, plan)
        if collected is None:
            continue
        frozen = collected.frozen()
        made = store.add_version(plan, etag, _version(reference, frozen), collected.body(), frozen.to_body())
        if made is not None:
            return made


def _collect(store: ReferenceStore, plan: FreezePlan) -> Collector | None:
    """All that the reference holds, one body in memory at a time; None when another freeze took some of it."""
    reference = plan.reference
    collected = collector(reference.content.selection, reference.content.source.unit_count)
    if reference.versions:
        state = store.version_state(reference, len(reference.versions))
        if state is None:
            return None
        collected.add_body(state)
    for key in plan.segments:
        body = store.segment_body(key)
        if body is None:
            return None
        collected.add_body(body)
    return collected


def _version(reference: Reference, frozen: Frozen) -> Version:
    selection, unit_count = reference.content.selection, reference.content.source.unit_count
    of_one_unit = selection.kind != "all" or unit_count == 1
    return Version(
        number=len(reference.versions) + 1,
        row_count=reference.row_count,
        selected_count=frozen.gaussian.count,
        create_time=datetime.now(UTC),
        unit_minimum=float(frozen.minimum[selection.unit]) if of_one_unit else None,
        unit_maximum=float(frozen.maximum[selection.unit]) if of_one_unit else None,
    )
