"""The exceptions every part of earwitness raises, and what each one means to a gRPC caller.

EarwitnessError
├── InvalidArgument        a field of the request is wrong; says which, what was got and what is allowed
├── NotFound               a named resource does not exist
├── AlreadyExists          a resource of that name exists with other contents
├── FailedPrecondition     the resource is in a state that does not allow the call
├── Aborted                a concurrent change won (an etag that is old, a lease that was lost)
├── ResourceExhausted      over a limit; try again after `retry_after_s`
├── Unavailable            a neighbour (Triton, the store, a service) cannot be reached now
├── DataLoss               what was stored is damaged; only who runs the service can help
├── DeadlineExceeded       the caller's time ran out before there was anything to return
└── Internal               a defect of ours

What stays on this machine is of the tree as well: DatasetError, CheckpointError, ExportError and Diverged (training),
AudioError and FeatureError (features), UndefinedEer and BrokenScores (detection), MetadataError and RepositoryError
(inference). All of these are somebody's mistake or misfortune, and their message is for whoever can do something about
it. A plain ValueError (KeyError, TypeError ...) is a defect of ours wherever it surfaces: the command line shows its
traceback, a server logs it and answers INTERNAL.

Services subclass these with their own UPPER_SNAKE `reason`; `rpc/errors.py` maps them to statuses with google.rpc
details. This module knows the status code by name only, so pure computation may raise without importing grpc.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class EarwitnessError(Exception):
    """Base of all; `code` is the name of a grpc.StatusCode, `reason` the ErrorInfo reason."""

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """Worker processes hand exceptions over; Python would call the class with the message alone."""
        return _rebuilt, (type(self), self.args, vars(self))


def _rebuilt(kind: type[EarwitnessError], args: tuple[Any, ...], state: Mapping[str, Any]) -> EarwitnessError:
    err = kind.__new__(kind, *args)
    vars(err).update(state)
    return err


class InvalidArgument(EarwitnessError):
    """One field of the input is wrong. `field` is the request path, e.g. `search.rows[3].settings.steps`."""

    code = "INVALID_ARGUMENT"
    reason = "INVALID_FIELD"

    def __init__(self, field: str, description: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{field}: {description}", metadata=metadata)
        self.field = field
        self.description = description


class NotFound(EarwitnessError):
    """`resource_name` does not exist; `resource_type` is the full name of its message, or words where it has none."""

    code = "NOT_FOUND"
    reason = "NOT_FOUND"

    def __init__(self, resource_type: str, resource_name: str, hint: str) -> None:
        super().__init__(f"{resource_name} does not exist; {hint}")
        self.resource_type = resource_type
        self.resource_name = resource_name


class AlreadyExists(EarwitnessError):
    """`resource_name` exists already, with contents other than those asked for."""

    code = "ALREADY_EXISTS"
    reason = "ALREADY_EXISTS"

    def __init__(self, resource_type: str, resource_name: str, hint: str) -> None:
        super().__init__(f"{resource_name} exists already; {hint}")
        self.resource_type = resource_type
        self.resource_name = resource_name


class FailedPrecondition(EarwitnessError):
    """The resource's state does not allow the call."""

    code = "FAILED_PRECONDITION"
    reason = "FAILED_PRECONDITION"


class Aborted(EarwitnessError):
    """A concurrent change won; read again and retry."""

    code = "ABORTED"
    reason = "ABORTED"


class ResourceExhausted(EarwitnessError):
    """Over a limit that frees itself; worth another try after `retry_after_s` seconds."""

    code = "RESOURCE_EXHAUSTED"
    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(EarwitnessError):
    """A neighbour cannot be reached now; worth another try after `retry_after_s` seconds."""

    code = "UNAVAILABLE"
    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DataLoss(EarwitnessError):
    """What was stored cannot be read any more: not the caller's fault, nor a defect; a backup helps."""

    code = "DATA_LOSS"
    reason = "DATA_LOSS"


class DeadlineExceeded(EarwitnessError):
    """The caller's time ran out before there was anything to return."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class Internal(EarwitnessError):
    """A defect of ours: the caller gets a fixed text and the request id, the log gets the traceback."""
