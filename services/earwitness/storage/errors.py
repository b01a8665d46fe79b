"""What a database may refuse.

EarwitnessError
├── FailedPrecondition  SchemaOutdated
├── Unavailable         StoreUnavailable
└── Internal            CorruptBlob
"""

from earwitness.errors import FailedPrecondition, Internal, Unavailable


class SchemaOutdated(FailedPrecondition):
    """The database is not at the schema of this version."""

    reason = "SCHEMA_OUTDATED"

    def __init__(self, service: str, found: str | None, needed: str | None) -> None:
        super().__init__(
            f"the database has schema {found or 'none'}, this version needs {needed}; "
            f"run `python -m {service} migrate` with the same settings"
        )


class StoreUnavailable(Unavailable):
    """The database cannot be reached or written now."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the database cannot be reached now; nothing was changed that is not acknowledged")


class CorruptBlob(Internal):
    """Stored bytes are not what was written."""

    reason = "STORE_CORRUPT"
