"""What servers refuse, as classes: `except ReferenceMismatch` catches the scorer's reason REFERENCE_MISMATCH.

RpcFailure → Refusal
├── InvalidField, InvalidFeatures, InvalidMetadata, InvalidRepository, UnknownMethod, Unauthenticated, RoleTooLow
├── ResourceNotFound     ModelNotFound, ModelNotServed, SweepNotFound, ReferenceNotFound, VersionNotFound
├── ResourceExists       ReferenceExists, ShardExists
├── PreconditionFailed   ReferenceMismatch, ReferenceNotFrozen, ReferenceKeepsNoRows, TooFewRows, ReferenceUnusable,
│                        NoScorer, ZeroGradient, FrozenGradient, WrongGradient, NonFiniteModel, UnknownFeatures,
│                        InconsistentModel, ModelUnusable, ModelChanged, ResultNotDone, SweepNotOver,
│                        SweepNotResumable, SchemaOutdated, SchemaUnknown, StoreUnusable
├── Conflict             EtagMismatch, AlreadyFolded, ModelExchanged, LeaseLost
├── Overloaded           TooManyCalls, TooManyWaits, TooManyWatches, TooManyMessages, CallerTooFast, CallerTooBusy,
│                        TooManySearches, TooManySweeps, TooManyAppends, TooManyFreezes, FreezeTooLarge,
│                        TooManyReads, InferenceOverloaded
├── ServiceUnavailable   InferenceUnavailable, ScorerUnavailable, StoreUnavailable, Draining
├── OutOfTime            NothingSearchedYet, MessageLate
├── DataDamaged          StoreDamaged
└── ServerDefect         InferenceFailed

Whatever has no reason of this table is a plain RpcFailure: gRPC's own failures, and those of a newer server.
"""

from typing import Any

from earwitness.rpc.errors import RpcFailure

BY_REASON: dict[str, type[RpcFailure]] = {}
"""The class of each reason that a service can give (`google.rpc.ErrorInfo.reason`, domain `earwitness`)."""


class Refusal(RpcFailure):
    """A failure whose reason this client knows; a class says its own in its first line."""

    def __init_subclass__(cls, *, reason: str, **others: Any) -> None:
        super().__init_subclass__(**others)
        BY_REASON[reason] = cls


class InvalidField(Refusal, reason="INVALID_FIELD"):
    """A field of the request is wrong; `violations` name it, what it is and what it may be."""


class InvalidFeatures(Refusal, reason="FEATURES_INVALID"):
    """The parameters of a model's features make no profile."""


class InvalidMetadata(Refusal, reason="METADATA_INVALID"):
    """What a served model says of itself describes no bundle."""


class InvalidRepository(Refusal, reason="MODEL_REPOSITORY_INVALID"):
    """The server's model repository cannot be served."""


class UnknownMethod(Refusal, reason="UNKNOWN_METHOD"):
    """The server has no such method: it is of another version."""


class Unauthenticated(Refusal, reason="UNAUTHENTICATED"):
    """No credential was sent, or one that is not accepted."""


class RoleTooLow(Refusal, reason="ROLE_TOO_LOW"):
    """The caller is known and may not do this."""


class ResourceNotFound(Refusal, reason="NOT_FOUND"):
    """`resource_name` does not exist."""


class ModelNotFound(ResourceNotFound, reason="MODEL_NOT_FOUND"):
    """No model of that name is served; the message lists those that are."""


class ModelNotServed(ResourceNotFound, reason="MODEL_NOT_SERVED"):
    """The inference server does not have one of the model's graphs, or not any more."""


class SweepNotFound(ResourceNotFound, reason="SWEEP_NOT_FOUND"):
    """No sweep has this id."""


class ReferenceNotFound(ResourceNotFound, reason="REFERENCE_NOT_FOUND"):
    """No reference has this id."""


class VersionNotFound(ResourceNotFound, reason="VERSION_NOT_FOUND"):
    """The reference has no version of this number."""


class ResourceExists(Refusal, reason="ALREADY_EXISTS"):
    """`resource_name` exists already, with other contents."""


class ReferenceExists(ResourceExists, reason="REFERENCE_EXISTS"):
    """Another request made a reference of this id."""


class ShardExists(ResourceExists, reason="SHARD_EXISTS"):
    """The reference has a shard of this id with other contents."""


class PreconditionFailed(Refusal, reason="FAILED_PRECONDITION"):
    """The state of the resource, or of the server, does not allow the call."""


class ReferenceMismatch(PreconditionFailed, reason="REFERENCE_MISMATCH"):
    """The batch comes from another model, other weights or another layer than the reference."""


class ReferenceNotFrozen(PreconditionFailed, reason="REFERENCE_NOT_FROZEN"):
    """The reference has no version to score against."""


class ReferenceKeepsNoRows(PreconditionFailed, reason="REFERENCE_KEEPS_NO_ROWS"):
    """Nearness is to rows, and the reference has only their statistics."""


class TooFewRows(PreconditionFailed, reason="TOO_FEW_ROWS"):
    """The reference has too few rows for a covariance, or fewer than it is to select."""


class ReferenceUnusable(PreconditionFailed, reason="REFERENCE_UNUSABLE"):
    """The reference does not fit the objective, or the scorer refuses it."""


class NoScorer(PreconditionFailed, reason="NO_SCORER"):
    """A ranking was asked of an explainer that knows no scorer."""


class ZeroGradient(PreconditionFailed, reason="ZERO_GRADIENT"):
    """The gradient of the objective with respect to the latent is exactly zero."""


class FrozenGradient(PreconditionFailed, reason="FROZEN_GRADIENT"):
    """The served gradient does not depend on the latent, although it should."""


class WrongGradient(PreconditionFailed, reason="WRONG_GRADIENT"):
    """The served gradient is not that of the served activation."""


class NonFiniteModel(PreconditionFailed, reason="NON_FINITE_MODEL"):
    """The model answers NaN or infinity to an ordinary latent."""


class UnknownFeatures(PreconditionFailed, reason="UNKNOWN_FEATURES"):
    """The server cannot rebuild the model's features, so its spectrograms have neither axes nor sound."""


class InconsistentModel(PreconditionFailed, reason="INCONSISTENT_MODEL"):
    """A bundle's search graph disagrees with its classifier over what its generator makes."""


class ModelUnusable(PreconditionFailed, reason="MODEL_UNUSABLE"):
    """The model's files are damaged, incomplete or not those that were exported."""


class ModelChanged(PreconditionFailed, reason="MODEL_CHANGED"):
    """The model was exported anew since the sweep began."""


class ResultNotDone(PreconditionFailed, reason="RESULT_NOT_DONE"):
    """The sweep has no result for this setting yet."""


class SweepNotOver(PreconditionFailed, reason="SWEEP_NOT_OVER"):
    """The sweep runs or waits."""


class SweepNotResumable(PreconditionFailed, reason="SWEEP_NOT_RESUMABLE"):
    """The sweep neither failed nor was cancelled, or has no checkpoints."""


class SchemaOutdated(PreconditionFailed, reason="SCHEMA_OUTDATED"):
    """The server's database is not at the schema of the server's version."""


class SchemaUnknown(PreconditionFailed, reason="SCHEMA_UNKNOWN"):
    """The server's database is at a schema of another version, or of another program."""


class StoreUnusable(PreconditionFailed, reason="STORE_UNUSABLE"):
    """What the server's database is or allows does not let it be used."""


class Conflict(Refusal, reason="ABORTED"):
    """A concurrent change won; read again and retry."""


class EtagMismatch(Conflict, reason="ETAG_MISMATCH"):
    """The reference changed since its etag was read."""


class AlreadyFolded(Conflict, reason="ALREADY_FOLDED"):
    """What a freeze was to fold is not there any more: another freeze was faster."""


class ModelExchanged(Conflict, reason="MODEL_EXCHANGED"):
    """Other weights are served under the model's name than when the call began."""


class LeaseLost(Conflict, reason="LEASE_LOST"):
    """Another process runs this sweep now."""


class Overloaded(Refusal, reason="OVERLOADED"):
    """The server is at one of its limits."""


class TooManyCalls(Overloaded, reason="TOO_MANY_CALLS"):
    """As many calls are in flight as the server takes."""


class TooManyWaits(Overloaded, reason="TOO_MANY_WAITS"):
    """As many calls wait for the work of others as may."""


class TooManyWatches(Overloaded, reason="TOO_MANY_WATCHES"):
    """As many streams of health or reflection are open as may be."""


class TooManyMessages(Overloaded, reason="TOO_MANY_MESSAGES"):
    """As many slow messages are being received as may be."""


class CallerTooFast(Overloaded, reason="CALLER_TOO_FAST"):
    """The caller has used up its calls for now."""


class CallerTooBusy(Overloaded, reason="CALLER_TOO_BUSY"):
    """As many of the caller's calls are in flight as one may have."""


class TooManySearches(Overloaded, reason="TOO_MANY_SEARCHES"):
    """Every slot for a search is taken, and as many callers wait as may."""


class TooManySweeps(Overloaded, reason="TOO_MANY_SWEEPS"):
    """As many sweeps run or wait as may."""


class TooManyAppends(Overloaded, reason="TOO_MANY_APPENDS"):
    """As many shards are being received as the server takes."""


class TooManyFreezes(Overloaded, reason="TOO_MANY_FREEZES"):
    """As many freezes of large references wait for their turn as may."""


class FreezeTooLarge(Overloaded, reason="FREEZE_TOO_LARGE"):
    """The process that folds the reference was ended by the system, as where memory runs out."""


class TooManyReads(Overloaded, reason="TOO_MANY_READS"):
    """As many statistics are being sent as the server sends at once."""


class InferenceOverloaded(Overloaded, reason="INFERENCE_OVERLOADED"):
    """The inference server has as many requests waiting as it takes."""


class ServiceUnavailable(Refusal, reason="UNAVAILABLE"):
    """Something that the server needs cannot be reached now."""


class InferenceUnavailable(ServiceUnavailable, reason="INFERENCE_UNAVAILABLE"):
    """The inference server cannot be reached or is not ready."""


class ScorerUnavailable(ServiceUnavailable, reason="SCORER_UNAVAILABLE"):
    """The explainer has no answer from its scorer now."""


class StoreUnavailable(ServiceUnavailable, reason="STORE_UNAVAILABLE"):
    """The server's database cannot be reached or written now."""


class Draining(ServiceUnavailable, reason="DRAINING"):
    """The server stops while the sweep is watched; watch it again."""


class OutOfTime(Refusal, reason="DEADLINE_EXCEEDED"):
    """The deadline passed before there was anything to return."""


class NothingSearchedYet(OutOfTime, reason="NOTHING_SEARCHED_YET"):
    """The deadline passed before the first step was done."""


class MessageLate(OutOfTime, reason="MESSAGE_LATE"):
    """The message did not reach the server in the time that it may take."""


class DataDamaged(Refusal, reason="DATA_LOSS"):
    """What the server stored cannot be read any more."""


class StoreDamaged(DataDamaged, reason="STORE_DAMAGED"):
    """What the server's database holds is not what was written."""


class ServerDefect(Refusal, reason="INTERNAL"):
    """A defect of the server; its log has the rest under `request_id`."""


class InferenceFailed(ServerDefect, reason="INFERENCE_FAILED"):
    """The inference server failed a request that was well formed."""
