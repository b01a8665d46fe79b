"""The store of references: append-only segments and immutable versions in a SQL database, every change a transaction.

A shard is one segment, inserted once under its id: replicas never contend and a retry changes nothing. Freezing folds
the segments that no version holds yet into the state of the newest version, writes both as the next version and drops
the segments' bodies, in one transaction.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from earwitness.errors import InvalidArgument
from earwitness.scorer.errors import AlreadyFolded, ReferenceExists, ReferenceNotFound, ShardExists, VersionNotFound
from earwitness.scorer.plan import AT_ONCE, BYTES_AT_ONCE, FreezePlan, Segment, pages
from earwitness.scorer.references import NewReference, Reference, Shard, Source, Version
from earwitness.scorer.schema import reference, segment, version
from earwitness.storage.columns import microseconds, new_key, time_of
from earwitness.storage.database import Database
from earwitness.storage.errors import StoreDamaged
from earwitness.storage.large import LargeValue
from earwitness.vocabulary.reference import ALL, KeptLayer, Selection


class ReferenceStore:
    """All methods are synchronous, may be called from any thread, and raise StoreUnavailable and StoreDamaged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Number of references. Raises: StoreDamaged, too, once damage was seen."""
        self._database.require_sound()
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(reference)).scalar_one())

    def create(self, request_id: str, new: NewReference) -> Reference:
        """The new reference, or the one that the same request made before.

        Raises: InvalidArgument when the request id belongs to another request; ReferenceExists.
        """
        values = {
            "key": new_key(),
            "request_id": request_id,
            "reference_id": new.reference_id,
            "model": new.source.model,
            "weights_sha256": new.source.weights_sha256,
            "layer": new.source.layer,
            "unit_count": new.source.unit_count,
            "feature_profile": new.feature_profile,
            "selection": new.selection.kind,
            "unit": new.selection.column,
            "k": new.selection.count,
            "description": new.description,
            "create_time_us": microseconds(datetime.now(UTC)),
            "kept_layers": _layers_text(new.kept_layers),
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
        while True:
            try:
                with self._database.writing() as connection:
                    connection.execute(insert(segment).values(key=new_key(), **values))
                    return True
            except IntegrityError as err:
                with self._database.reading() as connection:
                    if _has_shard(connection, of, shard):
                        return False
                    if not _load(connection, reference.c.key == of.key):
                        raise ReferenceNotFound(of.reference_id) from err
                # What is left is a key that another server drew in the same microsecond.

    def plan_freeze(self, reference_id: str, etag: str) -> FreezePlan:
        """What is to be folded into the next version. Raises: ReferenceNotFound; EtagMismatch."""
        with self._database.reading() as connection:
            found = _get(connection, reference_id)
            found.require_etag(etag)
            columns = (segment.c.key, func.length(segment.c.body))
            pending = (segment.c.reference_key == found.key) & segment.c.version.is_(None)
            query = select(*columns).where(pending).order_by(segment.c.key)
            return FreezePlan(found, tuple(Segment(*row) for row in connection.execute(query)))

    def bodies(self, plan: FreezePlan) -> Iterator[LargeValue | Sequence[bytes]]:
        """What the plan's shards left, in their order: small ones together, large ones each to be read in pieces.

        Raises: AlreadyFolded when a version, of another freeze, holds one of them, or the reference was deleted.
        """
        for page in pages(plan.segments):
            if page[0].byte_count > BYTES_AT_ONCE:
                yield LargeValue(self._database, segment.c.body, segment.c.key == page[0].key)
                continue
            keys = [each.key for each in page]
            query = select(segment.c.body).where(_unfolded(keys))
            with self._database.reading() as connection:
                bodies = connection.execute(query.order_by(segment.c.key)).scalars().all()
            if len(bodies) < len(page):
                raise AlreadyFolded(plan.reference.reference_id)
            yield bodies

    def version_state(self, of: Reference, number: int) -> LargeValue:
        """What the next version builds on; gone when the reference was deleted."""
        return LargeValue(self._database, version.c.state, _is_version(of, number))

    def version_frozen(self, of: Reference, number: int) -> bytes:
        """What batches are scored against. Raises: VersionNotFound when the reference was deleted."""
        with self._database.reading() as connection:
            query = select(version.c.frozen).where(_is_version(of, number))
            frozen = cast(bytes | None, connection.execute(query).scalar_one_or_none())
        if frozen is None:
            raise VersionNotFound(of.reference_id, number, 0)
        return frozen

    def add_version(self, plan: FreezePlan, etag: str, new: Version, state: bytes, frozen: bytes) -> Version:
        """Writes a version of the plan's segments.

        Raises: AlreadyFolded when another version was written since the plan was made; ReferenceNotFound; EtagMismatch.
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
                raise AlreadyFolded(found.reference_id)
            connection.execute(insert(version).values(values))
            keys = [each.key for each in plan.segments]
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                folded = update(segment).where(_unfolded(part)).values(version=new.number, body=None)
                changed = connection.execute(folded).rowcount
                if changed < len(part):  # the store was restored meanwhile: undone as a whole
                    raise AlreadyFolded(found.reference_id)
            return _get(connection, plan.reference.reference_id).versions[-1]

    def tell_damage(self, err: StoreDamaged) -> None:
        """Take note of damage in what was read."""
        self._database.tell_damage(err)


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
    last_shard = select(func.coalesce(func.max(segment.c.key), 0)).where(own).scalar_subquery()
    counted = (row_count.label("row_count"), shard_count.label("shard_count"), last_shard.label("last_shard"))
    query = select(reference, *counted).where(condition)
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
            selection=ALL if row.selection == ALL.kind else Selection(row.selection, row.unit, row.k),
            description=row.description,
            kept_layers=_layers_of(row.kept_layers),
        ),
        row_count=int(row.row_count),
        shard_count=row.shard_count,
        last_shard=row.last_shard,
        versions=tuple(versions),
        create_time=time_of(row.create_time_us),
    )


def _layers_text(layers: Sequence[KeptLayer]) -> str | None:
    return json.dumps([[each.name, each.unit_count] for each in layers]) if layers else None


def _layers_of(text: str | None) -> tuple[KeptLayer, ...]:
    return tuple(KeptLayer(*each) for each in json.loads(text)) if text else ()


def _unfolded(keys: Sequence[int]) -> ColumnElement[bool]:
    # By nothing that the other index has: SQLite would go through all of the reference's shards for each page of them.
    return segment.c.key.in_(keys) & segment.c.body.is_not(None)


def _is_version(of: Reference, number: int) -> ColumnElement[bool]:
    return (version.c.reference_key == of.key) & (version.c.number == number)
