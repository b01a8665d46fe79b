"""A reference as a file: the statistics of one version, as a scorer gave them, and what they are of.

One npz: `description`, a JSON text; and mean, minimum, maximum [D] and scatter [D, D] float64, or rows [S, D] float32
or float64, see `Partial`. D is the units of the reference's layer, or of all layers that it keeps together.
"""

import hashlib
import json
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from earwitness import __version__
from earwitness.arrays import DAMAGED, load
from earwitness.client.errors import RpcFailure
from earwitness.client.partials import Moments, Partial, VersionStatistics
from earwitness.client.references import WAY_OUT
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import KeptLayer, Reference, ReferenceIdentity, ReferenceVersion, Selection
from earwitness.errors import InvalidArgument
from earwitness.files import whole_file

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOMENTS = ("mean", "scatter", "minimum", "maximum")


@dataclass(frozen=True)
class Description:
    """What statistics are of; `version` is the one that they were read of, `sha256` that of them as they travel."""

    format: Literal["earwitness-reference-1", "earwitness-reference-2"]
    """2 where rows hold several layers: versions of before, which know no such rows, refuse it."""
    earwitness_version: str
    version: ReferenceVersion
    identity: ReferenceIdentity
    selection: Selection
    description: str
    sha256: str
    kept_layers: tuple[KeptLayer, ...] = ()


@dataclass(frozen=True, eq=False)
class StoredReference:
    """What a file holds."""

    about: Description
    partial: Partial


@dataclass(frozen=True)
class ImportedReference:
    """A reference made from a file, its version, and whether this made it: False when it was there."""

    reference: Reference
    version: ReferenceVersion
    added: bool


def check_file_free(path: Path, *, force: bool) -> None:
    """Raises: InvalidArgument when the file is there and not to be replaced, or is a folder."""
    if path.is_dir():
        raise InvalidArgument("file", f"{path} is a folder; give a file")
    if path.exists() and not force:
        raise InvalidArgument("file", f"{path} is there already; choose another name, or replace it with --force")


def write_reference(statistics: VersionStatistics, path: Path, *, force: bool = False) -> Description:
    """Write a file, whole or not at all; its folder is made where there is none.

    Raises: InvalidArgument as `check_file_free`; OSError.
    """
    check_file_free(path, force=force)
    partial, reference = statistics.partial, statistics.reference
    about = Description(
        format="earwitness-reference-2" if reference.kept_layers else "earwitness-reference-1",
        earwitness_version=__version__,
        version=statistics.version,
        identity=reference.identity,
        selection=reference.selection,
        description=reference.description,
        sha256=_sha256(partial),
        kept_layers=reference.kept_layers,
    )
    arrays = {"rows": partial.rows} if partial.moments is None else {n: getattr(partial.moments, n) for n in MOMENTS}
    description = np.array(_adapter().dump_json(about).decode())
    with whole_file(path) as work, work.open("wb") as file:
        np.savez(file, allow_pickle=False, description=description, **arrays)
    return about


def read_reference(path: Path) -> StoredReference:
    """What `write_reference` wrote.

    Raises: InvalidArgument when the file is another one, or broken; OSError.
    """
    with path.open("rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no npz file")
            file.seek(0)
            with load(file) as stored:
                arrays: Mapping[str, NDArray[Any]] = {name: stored[name] for name in stored.files}
            about = _adapter().validate_json(str(arrays["description"]))
            moments = Moments(*(arrays[name] for name in MOMENTS)) if "mean" in arrays else None
            partial = Partial(about.version.row_count, moments, None if moments else arrays["rows"])
            if _sha256(partial) != about.sha256:
                raise ValueError("its numbers are not those that were written")
        except (KeyError, OSError, *DAMAGED) as err:
            raise InvalidArgument("file", f"{path} is no whole reference as exported ({_words(err)})") from err
    return StoredReference(about, partial)


async def import_reference(
    scorer: ScorerClient, name: str, stored: StoredReference, *, description: str | None = None
) -> ImportedReference:
    """Make the reference `name` of a file and freeze it; its version scores as the one that was exported.

    The same again makes nothing, and what was interrupted is taken up: the request that makes the reference has its id
    from what the file holds, so one that anything else made is told apart, and nothing is ever merged into it.

    Raises: InvalidArgument when there is such another one; RpcFailure.
    """
    about, words = stored.about, stored.about.description if description is None else description
    content = [name, asdict(about.identity), asdict(about.selection), words, about.version.row_count, about.sha256]
    if about.kept_layers:
        content.append([asdict(each) for each in about.kept_layers])
    digest = hashlib.sha256(json.dumps(content).encode()).digest()
    try:
        await scorer.create_reference(
            name,
            identity=about.identity,
            selection=about.selection,
            description=words,
            kept_layers=about.kept_layers,
            request_id=str(uuid.UUID(bytes=digest[:16], version=4)),
        )
    except RpcFailure as failure:
        if failure.code is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        raise InvalidArgument("name", f"there is a reference {name} that was not made so; {WAY_OUT}") from failure
    added = await scorer.merge_statistics(name, f"reference-{about.sha256}", stored.partial)
    version = await scorer.freeze_reference(name)
    return ImportedReference(await scorer.get_reference(name), version, added)


def _sha256(partial: Partial) -> str:
    return hashlib.sha256(partial.to_bytes()).hexdigest()


def _words(err: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(err, ValidationError):
        first = err.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"it has no {err.args[0]!r}" if isinstance(err, KeyError) else str(err)


@cache
def _adapter() -> "TypeAdapter[Description]":
    from pydantic import TypeAdapter

    return TypeAdapter(Description)
