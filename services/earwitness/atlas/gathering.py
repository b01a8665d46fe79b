"""Activations of all that an atlas is made of, each computed once and kept: recordings, draws, what searches found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.atlas.executing import Workers
from earwitness.atlas.place import Place
from earwitness.atlas.responses import Heard, layout_of
from earwitness.atlas.searching import Searcher
from earwitness.atlas.store import Store, digest, file_digest
from earwitness.atlas.tasks import Listened, classify_latents, draw, hop_of, latents_of, listen
from earwitness.atlas.values import FORMAT
from earwitness.client import Search
from earwitness.errors import InvalidArgument
from earwitness.features import Flaw, OnFlaw
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata

POOL_PART = 128
"""Draws of one part of the work."""
OnProgress = Callable[[int, int, str], None]
"""Told of parts that are done, and in all, and in words what they are."""


@dataclass(frozen=True, eq=False)
class Means:
    """What an atlas is made with."""

    place: Place
    bundle: BundleMetadata
    workers: Workers
    store: Store
    on_progress: OnProgress


@dataclass(frozen=True)
class Recording:
    """A file, and the digest of its bytes."""

    path: Path
    digest: str


@dataclass(frozen=True, eq=False)
class Found:
    """Latents [m, Z] of candidates, their activations [m, U], and the seeds that they began with."""

    latents: FloatArray
    activations: FloatArray
    seeds: tuple[int, ...]

    def take(self, rows: Sequence[int]) -> "Found":
        """Some of them, in that order."""
        return Found(self.latents[rows], self.activations[rows], tuple(self.seeds[row] for row in rows))


def hear(means: Means, paths: Sequence[Path], on_flaw: OnFlaw) -> tuple[list[Recording], Heard]:
    """All recordings that can be read, and their excerpts' activations; only what is new is classified.

    Raises: InvalidArgument where no two excerpts are left; as the work of the parts.
    """
    bundle, left_out = means.bundle, list[Flaw]()
    recordings: list[Recording] = []
    for path in paths:
        try:
            recordings.append(Recording(path, file_digest(path)))
        except OSError as err:
            left_out.append(Flaw(path, "left-out", f"cannot be read ({err.strerror})"))
            on_flaw(left_out[-1])
    names = [digest(FORMAT, bundle.weights_sha256, hop_of(bundle), each.digest) for each in recordings]
    held = {name: found for name in names if (found := means.store.get("recordings", name)) is not None}
    missing = list({name: each for name, each in zip(names, recordings, strict=True) if name not in held}.items())

    def take(index: int, listened: Listened) -> None:
        name = missing[index][0]
        for flaw in listened.flaws:
            on_flaw(flaw)
        if listened.activations is None:
            left_out.append(listened.flaws[-1])
        else:
            held[name] = listened.activations
            means.store.put("recordings", name, listened.activations)

    parts = [(means.place, bundle, each.path) for _, each in missing]
    _run(means, listen, parts, take, "recordings listened to (stage 1 of 3)")
    kept = [(each, held[name]) for name, each in zip(names, recordings, strict=True) if name in held]
    heard = [each for _, each in kept]
    if sum(map(len, heard)) < 2:
        why = f"none can be used: {left_out[0]}" if left_out and not kept else "they hold fewer than two excerpts"
        raise InvalidArgument("recordings", why)
    layout = layout_of([(layer.name, layer.unit_count) for layer in bundle.layers])
    return [each for each, _ in kept], Heard.of(layout, heard)


def pool(means: Means, first_seed: int, count: int) -> FloatArray:
    """Activations [count, U] of the draws of the seeds from `first_seed` on. Raises: as the work of the parts."""
    spans = [(start, min(POOL_PART, count - start)) for start in range(0, count, POOL_PART)]
    names = [digest(FORMAT, means.bundle.weights_sha256, first_seed + start, size) for start, size in spans]
    held = {name: found for name in names if (found := means.store.get("draws", name)) is not None}
    missing = [(name, span) for name, span in zip(names, spans, strict=True) if name not in held]

    def take(index: int, found: FloatArray) -> None:
        name = missing[index][0]
        held[name] = found
        means.store.put("draws", name, found)

    parts = [(means.place, means.bundle, first_seed + start, size) for _, (start, size) in missing]
    _run(means, draw, parts, take, f"lots of {POOL_PART} draws classified (stage 2 of 3)")
    return np.concatenate([held[name] for name in names])


def drawn(means: Means, first_seed: int, candidates: Sequence[int], pool_activations: FloatArray) -> Found:
    """The draws at some places of a pool."""
    seeds = tuple(first_seed + each for each in candidates)
    latents = np.concatenate([latents_of(means.bundle, range(seed, seed + 1)) for seed in seeds])
    return Found(latents, pool_activations[list(candidates)], seeds)


def searched(means: Means, searches: Sequence[Search], search: Searcher | None) -> list[Found]:
    """What each of the searches found; those alone are done that were not before.

    Raises: InvalidArgument without an explainer; RpcFailure; as the work of the parts.
    """
    names = [digest(FORMAT, means.bundle.weights_sha256, each) for each in searches]
    held = {name: found for name in names if (found := means.store.get("latents", name)) is not None}
    missing = [(name, each) for name, each in zip(names, searches, strict=True) if name not in held]
    if missing:
        if search is None:
            raise InvalidArgument("explainer", "is needed for ways other than draws; say where it is")
        done = 0
        means.on_progress(0, len(missing), "units searched (stage 2 of 3)")

        def keep(index: int, latents: FloatArray) -> None:
            nonlocal done
            held[missing[index][0]] = latents
            means.store.put("latents", missing[index][0], latents)
            done += 1
            means.on_progress(done, len(missing), "units searched (stage 2 of 3)")

        search([each for _, each in missing], keep)
    known = {name: found for name in names if (found := means.store.get("searched", name)) is not None}
    unknown = [name for name in dict.fromkeys(names) if name not in known]

    def take(index: int, activations: FloatArray) -> None:
        known[unknown[index]] = activations
        means.store.put("searched", unknown[index], activations)

    parts = [(means.place, means.bundle, held[name]) for name in unknown]
    _run(means, classify_latents, parts, take, "searches classified (stage 2 of 3)")
    return [
        Found(held[name], known[name], tuple(row.seed for row in each.rows))
        for name, each in zip(names, searches, strict=True)
    ]


def _run(
    means: Means,
    function: Callable[..., object],
    parts: Sequence[tuple[object, ...]],
    take: Callable[[int, object], None] | Callable[[int, FloatArray], None] | Callable[[int, Listened], None],
    words: str,
) -> None:
    """All parts, each told of when it is taken."""
    if not parts:
        return
    done = 0
    means.on_progress(0, len(parts), words)

    def taken(index: int, found: object) -> None:
        nonlocal done
        take(index, found)  # type: ignore[arg-type]
        done += 1
        means.on_progress(done, len(parts), words)

    means.workers.run(function, parts, taken)
