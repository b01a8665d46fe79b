"""What a database may refuse.

EarwitnessError
├── FailedPrecondition  SchemaOutdated, SchemaUnknown, StoreUnusable
├── Unavailable         StoreUnavailable
└── DataLoss            StoreDamaged
"""

from earwitness.errors import DataLoss, FailedPrecondition, Unavailable


class SchemaOutdated(FailedPrecondition):
    """The database is not at the schema of this version."""

    reason = "SCHEMA_OUTDATED"

    def __init__(self, service: str, found: str | None, needed: str | None) -> None:
        super().__init__(
            f"the database has schema {found or 'none'}, this version needs {needed}; "
            f"run `python -m {service} migrate` with the same settings"
        )


class SchemaUnknown(FailedPrecondition):
    """The database is at a schema that this version has never heard of: that of a later one, or another program's."""

    reason = "SCHEMA_UNKNOWN"

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"the database is not at a schema that this version knows ({complaint}); "
            "run the version that wrote it, or choose another database"
        )


class StoreUnusable(FailedPrecondition):
    """What the database is or allows does not let it be used."""

    reason = "STORE_UNUSABLE"

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"the database cannot be used: {complaint}; restore a backup, or choose another (--database-url)"
        )


class StoreUnavailable(Unavailable):
    """The database cannot be reached or written now."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the database cannot be reached now; nothing was changed that is not acknowledged")


class StoreDamaged(DataLoss):
    """What the database holds is not what was written."""

    reason = "STORE_DAMAGED"

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"what the service stored is damaged ({complaint}); another try will not help, only a backup, to be "
            "restored by whoever runs the service"
        )
        self.complaint = complaint
