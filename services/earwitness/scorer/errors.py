"""The scorer's own exceptions; `earwitness.errors` says what each base means to a caller.

EarwitnessError
├── NotFound            ReferenceNotFound, VersionNotFound
├── AlreadyExists       ReferenceExists, ShardExists
├── FailedPrecondition  ReferenceMismatch, NotFrozen, KeepsNoRows, TooFewRows
├── Aborted             EtagMismatch, AlreadyFolded
└── ResourceExhausted   TooManyAppends, TooManyFreezes, TooManyReads, FreezeTooLarge

Those of its database are in `earwitness.storage.errors`.
"""

from earwitness.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
)

REFERENCE_TYPE = "earwitness.scorer.v1.Reference"
VERSION_TYPE = "earwitness.scorer.v1.ReferenceVersion"
SHARD_TYPE = "earwitness.scorer.v1.ShardHeader"


class ReferenceNotFound(NotFound):
    """No reference has this id."""

    reason = "REFERENCE_NOT_FOUND"

    def __init__(self, reference_id: str) -> None:
        super().__init__(REFERENCE_TYPE, f"references/{reference_id}", "ListReferences names those that do")


class VersionNotFound(NotFound):
    """The reference has no version of this number."""

    reason = "VERSION_NOT_FOUND"

    def __init__(self, reference_id: str, number: int, newest: int) -> None:
        hint = f"its newest version is {newest}" if newest else "it has none yet: FreezeReference makes one"
        super().__init__(VERSION_TYPE, f"references/{reference_id}/versions/{number}", hint)


class ReferenceExists(AlreadyExists):
    """Another request made a reference of this id."""

    reason = "REFERENCE_EXISTS"

    def __init__(self, reference_id: str) -> None:
        super().__init__(REFERENCE_TYPE, f"references/{reference_id}", "choose another reference_id or delete it first")


class ShardExists(AlreadyExists):
    """The reference has a shard of this id with other contents."""

    reason = "SHARD_EXISTS"

    def __init__(self, reference_id: str, shard_id: str) -> None:
        super().__init__(
            SHARD_TYPE,
            f"references/{reference_id}: shard {shard_id!r}",
            "with another sha256 or row_count; give other contents another shard_id",
        )


class ReferenceMismatch(FailedPrecondition):
    """The batch comes from another model, other weights or another layer than the reference."""

    reason = "REFERENCE_MISMATCH"

    def __init__(self, reference_id: str, field: str, batch: object, reference: object) -> None:
        super().__init__(
            f"{field} of the batch is {batch}, that of references/{reference_id} is {reference}; "
            "a distance between them means nothing: score against a reference of the same model, weights and layer",
            metadata={"field": field, "batch": str(batch), "reference": str(reference)},
        )


class NotFrozen(FailedPrecondition):
    """The reference has no version to score against."""

    reason = "REFERENCE_NOT_FROZEN"

    def __init__(self, reference_id: str) -> None:
        super().__init__(f"references/{reference_id} has no version yet: FreezeReference makes one of what it holds")


class KeepsNoRows(FailedPrecondition):
    """Nearness is to rows, and the reference has only their statistics."""

    reason = "REFERENCE_KEEPS_NO_ROWS"

    def __init__(self, reference_id: str) -> None:
        super().__init__(
            f"references/{reference_id} is of all rows and keeps none of them, so nothing can be near to them; use a "
            "reference of top or bottom rows"
        )


class TooFewRows(FailedPrecondition):
    """The reference has too few rows for a covariance, or fewer than it is to select."""

    reason = "TOO_FEW_ROWS"

    def __init__(self, reference_id: str, row_count: int, needed: int, selection: str) -> None:
        words, way_out = f"at least {needed}", "append more"
        if selection != "all":
            words += f" to select its {selection} {needed} from"
            way_out += ", or make another reference that selects fewer"
        super().__init__(f"references/{reference_id} has {row_count} rows, a version needs {words}; {way_out}")


class EtagMismatch(Aborted):
    """The reference changed since its etag was read."""

    reason = "ETAG_MISMATCH"

    def __init__(self, reference_id: str, given: str, current: str) -> None:
        super().__init__(
            f"etag {given!r} of references/{reference_id} is stale, it is {current!r} now; read it again and retry"
        )


class AlreadyFolded(Aborted):
    """What a freeze was to fold is not there any more: another freeze was faster."""

    reason = "ALREADY_FOLDED"

    def __init__(self, reference_id: str) -> None:
        super().__init__(f"references/{reference_id} was frozen or deleted by another call meanwhile; try again")


class TooManyAppends(ResourceExhausted):
    """As many shards, partials among them, are being received as this server takes."""

    reason = "TOO_MANY_APPENDS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} shards are being received, the most this server takes at once; try again soon")


class TooManyFreezes(ResourceExhausted):
    """As many freezes of large references wait for their turn as this server lets."""

    reason = "TOO_MANY_FREEZES"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} freezes of large references wait for their turn, the most this server lets wait; try again later",
            retry_after_s=10.0,
        )


class FreezeTooLarge(ResourceExhausted):
    """The process that folds a reference was ended by the system."""

    reason = "FREEZE_TOO_LARGE"

    def __init__(self, reference_id: str, signal: int) -> None:
        super().__init__(
            f"the process that was to freeze references/{reference_id} was ended by signal {signal}, as it is where "
            "memory runs out; nothing was changed",
            retry_after_s=60.0,
        )


class TooManyReads(ResourceExhausted):
    """As many statistics are being read as this server sends at once."""

    reason = "TOO_MANY_READS"

    def __init__(self, limit: int) -> None:
        super().__init__(f"statistics are being sent to {limit} readers, the most this server takes; try again soon")
