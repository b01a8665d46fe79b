"""Makes an immutable version of what a reference holds now."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from earwitness.scorer.errors import AlreadyFolded, TooFewRows
from earwitness.scorer.folding import Body, Folding, Stop, fold_apart, fold_here
from earwitness.scorer.frechet import MIN_ROWS
from earwitness.scorer.plan import FreezePlan
from earwitness.scorer.references import Reference, Version
from earwitness.scorer.store import ReferenceStore
from earwitness.storage.large import LargeValue

LIGHT_BYTES = 16 * 2**20
LIGHT_SHARDS = 500
LIGHT_UNITS = 512
"""What is at most folded of a version that is made in a moment: a third of a second."""
_PIECE_BYTES = 4 * 2**20


def freeze(store: ReferenceStore, reference_id: str, etag: str) -> Version:
    """The new version, or the newest one when no shard came since.

    Raises: ReferenceNotFound; TooFewRows; EtagMismatch unless `etag` is "" or current; StoreUnavailable.
    """
    while True:
        plan = store.plan_freeze(reference_id, etag)
        if not is_needed(plan):
            return plan.reference.versions[-1]
        try:
            return make(store, plan, etag, Stop())
        except AlreadyFolded:
            continue


def is_needed(plan: FreezePlan) -> bool:
    """Whether the plan makes a new version. Raises: TooFewRows when it would have to and cannot."""
    reference = plan.reference
    if reference.versions and not plan.segments:
        return False
    selection = reference.content.selection
    needed = MIN_ROWS if selection.kind == "all" else selection.count
    if reference.row_count < needed:
        raise TooFewRows(reference.reference_id, reference.row_count, needed, selection.kind)
    return True


def is_heavy(plan: FreezePlan) -> bool:
    """Whether making the plan's version is long work, which is done apart."""
    content = plan.reference.content
    row_count = plan.reference.row_count if content.selection.kind == "all" else content.selection.count
    return (
        min(row_count, content.layout.width) > LIGHT_UNITS
        or len(plan.segments) > LIGHT_SHARDS
        or sum(each.byte_count for each in plan.segments) > LIGHT_BYTES
    )


def make(store: ReferenceStore, plan: FreezePlan, etag: str, stop: Stop) -> Version:
    """The plan's version, made outside of any transaction, and written.

    Raises: AlreadyFolded; Stopped; ReferenceNotFound; EtagMismatch; StoreDamaged; FreezeTooLarge; StoreUnavailable.
    """
    content = plan.reference.content
    fold = partial(fold_apart, content.reference_id) if is_heavy(plan) else fold_here
    folding = fold(content.selection, content.layout, _bodies(store, plan), stop)
    stop.require_not()
    return store.add_version(plan, etag, _version(plan.reference, folding), folding.state, folding.frozen)


def _bodies(store: ReferenceStore, plan: FreezePlan) -> Iterator[Body]:
    """All that the reference holds, little of it in memory at a time. Raises: AlreadyFolded."""
    reference = plan.reference
    if reference.versions:
        yield _pieces(store.version_state(reference, len(reference.versions)), reference)
    for found in store.bodies(plan):
        if isinstance(found, LargeValue):
            yield _pieces(found, reference)
        else:
            yield from ((len(body), (body,)) for body in found)


def _pieces(value: LargeValue, of: Reference) -> Body:
    size = value.byte_count()
    if size is None:
        raise AlreadyFolded(of.reference_id)

    def read() -> Iterator[bytes]:
        for start in range(0, size, _PIECE_BYTES):
            piece = value.read(start, _PIECE_BYTES)
            if piece is None:
                raise AlreadyFolded(of.reference_id)
            yield piece

    return size, read()


def _version(reference: Reference, folding: Folding) -> Version:
    selection, unit_count = reference.content.selection, reference.content.source.unit_count
    of_one_unit = selection.kind != "all" or unit_count == 1
    return Version(
        number=len(reference.versions) + 1,
        row_count=reference.row_count,
        selected_count=folding.selected_count,
        create_time=datetime.now(UTC),
        unit_minimum=folding.unit_minimum if of_one_unit else None,
        unit_maximum=folding.unit_maximum if of_one_unit else None,
    )
