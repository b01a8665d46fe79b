"""The store of references: append-only segments and immutable versions in a SQL database, every change a transaction.

A shard is one segment, inserted once under its id: replicas never contend and a retry changes nothing. Freezing folds
the segments that no version holds yet into the state of the newest version, writes both as the next version and drops
the segments' bodies, in one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from earwitness.errors import InvalidArgument
from earwitness.scorer.errors import ReferenceExists, ReferenceNotFound, ShardExists, VersionNotFound
from earwitness.scorer.references import NewReference, Reference, Shard, Source, Version
from earwitness.scorer.schema import reference, segment, version
from earwitness.scorer.selection import Kind, Selection
from earwitness.storage.columns import microseconds, time_of
from earwitness.storage.database import Database


@dataclass(frozen=True)
class FreezePlan:
    """A reference, and the keys of the segments that no version of it holds yet."""

    reference: Reference
    segments: tuple[int, ...]


class ReferenceStore:
    """All methods are synchronous, may be called from any thread, and raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Number of references."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(reference)).scalar_one())

    def create(self, request_id: str, new: NewReference) -> Reference:
        """The new reference, or the one that the same request made before.

        Raises: InvalidArgument when the request id belongs to another request; ReferenceExists.
        """
        values = {
            "request_id": request_id,
            "reference_id": new.reference_id,
            "model": new.source.model,
            "weights_sha256": new.source.weights_sha256,
            "layer": new.source.layer,
            "unit_count": new.source.unit_count,
            "feature_profile": new.feature_profile,
            "selection": new.selection.kind,
            "unit": new.selection.unit,
            "k": new.selection.k,
            "description": new.description,
            "create_time_us": microseconds(datetime.now(UTC)),
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(reference).values(values))
                return _load(connection, reference.c.request_id == request_id)[0]
        except IntegrityError:
            with self._database.reading() as connection:
                made = _load(connection, reference.c.request_id == request_id)
        if not made:
            raise ReferenceExists(new.reference_id)
        if made[0].content != new:
            raise InvalidArgument(
                "request_id", f"was used for references/{made[0].reference_id} with other contents; take a new UUID4"
            )
        return made[0]

    def get(self, reference_id: str) -> Reference:
        """Raises: ReferenceNotFound."""
        with self._database.reading() as connection:
            return _get(connection, reference_id)

    def list(self, model: str, after: str, limit: int) -> list[Reference]:
        """At most `limit` references whose ids come after `after`, in their order; of one `model` unless it is ""."""
        condition = reference.c.reference_id > after
        if model:
            condition &= reference.c.model == model
        with self._database.reading() as connection:
            return _load(connection, condition, limit)

    def delete(self, reference_id: str, etag: str) -> None:
        """Deletes a reference with its segments and versions.

        Raises: ReferenceNotFound; EtagMismatch unless `etag` is "" or current.
        """
        with self._database.writing() as connection:
            found = _lock(connection, reference_id)
            found.require_etag(etag)
            connection.execute(delete(reference).where(reference.c.key == found.key))

    def has_shard(self, of: Reference, shard: Shard) -> bool:
        """True when the shard is counted already. Raises: ShardExists when its id has other contents."""
        with self._database.reading() as connection:
            return _has_shard(connection, of, shard)

    def add_shard(self, of: Reference, shard: Shard, body: bytes) -> bool:
        """Counts a shard; False when it was counted already.

        Raises: ReferenceNotFound when the reference was deleted; ShardExists.
        """
        values = {
            "reference_key": of.key,
            "shard_id": shard.shard_id,
            "sha256": shard.sha256,
            "row_count": shard.row_count,
            "body": body,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(segment).values(values))
                return True
        except IntegrityError as err:
            with self._database.reading() as connection:
                if _has_shard(connection, of, shard):
                    return False
            raise ReferenceNotFound(of.reference_id) from err

    def plan_freeze(self, reference_id: str, etag: str) -> FreezePlan:
        """What is to be folded into the next version. Raises: ReferenceNotFound; EtagMismatch."""
        with self._database.reading() as connection:
            found = _get(connection, reference_id)
            found.require_etag(etag)
            pending = (segment.c.reference_key == found.key) & segment.c.version.is_(None)
            keys = connection.execute(select(segment.c.key).where(pending).order_by(segment.c.key)).scalars()
            return FreezePlan(found, tuple(keys))

    def segment_body(self, key: int) -> bytes | None:
        """What a shard left; None once a version holds it."""
        return self._blob(select(segment.c.body).where(segment.c.key == key))

    def version_state(self, of: Reference, number: int) -> bytes | None:
        """What the next version builds on; None when the reference was deleted."""
        return self._blob(select(version.c.state).where(_is_version(of, number)))

    def version_frozen(self, of: Reference, number: int) -> bytes:
        """What batches are scored against. Raises: VersionNotFound when the reference was deleted."""
        frozen = self._blob(select(version.c.frozen).where(_is_version(of, number)))
        if frozen is None:
            raise VersionNotFound(of.reference_id, number, 0)
        return frozen

    def add_version(self, plan: FreezePlan, etag: str, new: Version, state: bytes, frozen: bytes) -> Version | None:
        """Writes a version of the plan's segments; None when another version was written since the plan was made.

        Raises: ReferenceNotFound; EtagMismatch.
        """
        values = {
            "reference_key": plan.reference.key,
            "number": new.number,
            "row_count": new.row_count,
            "selected_count": new.selected_count,
            "unit_minimum": new.unit_minimum,
            "unit_maximum": new.unit_maximum,
            "create_time_us": microseconds(new.create_time),
            "state": state,
            "frozen": frozen,
        }
        with self._database.writing() as connection:
            found = _lock(connection, plan.reference.reference_id)
            found.require_etag(etag)
            if found.key != plan.reference.key or found.versions != plan.reference.versions:
                return None
            connection.execute(insert(version).values(values))
            folded = update(segment).where(segment.c.key == bindparam("folded")).values(version=new.number, body=None)
            connection.execute(folded, [{"folded": key} for key in plan.segments])
            return _get(connection, plan.reference.reference_id).versions[-1]

    def _blob(self, query: Select[Any]) -> bytes | None:
        with self._database.reading() as connection:
            return cast(bytes | None, connection.execute(query).scalar_one_or_none())


def _lock(connection: Connection, reference_id: str) -> Reference:
    """The reference as it stays until the transaction ends. SQLite's writers hold a lock on everything already."""
    connection.execute(select(reference.c.key).where(reference.c.reference_id == reference_id).with_for_update())
    return _get(connection, reference_id)


def _get(connection: Connection, reference_id: str) -> Reference:
    found = _load(connection, reference.c.reference_id == reference_id)
    if not found:
        raise ReferenceNotFound(reference_id)
    return found[0]


def _has_shard(connection: Connection, of: Reference, shard: Shard) -> bool:
    where = (segment.c.reference_key == of.key) & (segment.c.shard_id == shard.shard_id)
    found = connection.execute(select(segment.c.sha256, segment.c.row_count).where(where)).one_or_none()
    if found is not None and (found.sha256, found.row_count) != (shard.sha256, shard.row_count):
        raise ShardExists(of.reference_id, shard.shard_id)
    return found is not None


def _load(connection: Connection, condition: ColumnElement[bool], limit: int | None = None) -> list[Reference]:
    own = segment.c.reference_key == reference.c.key
    row_count = select(func.coalesce(func.sum(segment.c.row_count), 0)).where(own).scalar_subquery()
    shard_count = select(func.count()).select_from(segment).where(own).scalar_subquery()
    query = select(reference, row_count.label("row_count"), shard_count.label("shard_count")).where(condition)
    rows = connection.execute(query.order_by(reference.c.reference_id).limit(limit)).all()
    versions = _load_versions(connection, [row.key for row in rows])
    return [_reference(row, versions[row.key]) for row in rows]


def _load_versions(connection: Connection, keys: Sequence[int]) -> dict[int, list[Version]]:
    small = [column for column in version.c if column not in (version.c.state, version.c.frozen)]
    versions: dict[int, list[Version]] = {key: [] for key in keys}
    query = select(*small).where(version.c.reference_key.in_(keys)).order_by(version.c.number)
    for row in connection.execute(query):
        create_time = time_of(row.create_time_us)
        versions[row.reference_key].append(
            Version(row.number, row.row_count, row.selected_count, create_time, row.unit_minimum, row.unit_maximum)
        )
    return versions


def _reference(row: Row[Any], versions: Sequence[Version]) -> Reference:
    return Reference(
        key=row.key,
        content=NewReference(
            reference_id=row.reference_id,
            source=Source(row.model, row.weights_sha256, row.layer, row.unit_count),
            feature_profile=row.feature_profile,
            selection=Selection(cast(Kind, row.selection), row.unit, row.k),
            description=row.description,
        ),
        row_count=int(row.row_count),
        shard_count=row.shard_count,
        versions=tuple(versions),
        create_time=time_of(row.create_time_us),
    )


def _is_version(of: Reference, number: int) -> ColumnElement[bool]:
    return (version.c.reference_key == of.key) & (version.c.number == number)
