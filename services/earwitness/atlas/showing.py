"""Sounds and pictures of what the pages show, each made once however many units show it, in `media/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.atlas.gathering import Found, Means, Recording
from earwitness.atlas.media import FORMAT, Medium, sound_suffix
from earwitness.atlas.responses import Heard
from earwitness.atlas.store import digest, leave_only, write_bytes
from earwitness.atlas.tasks import hop_of, show_excerpts, show_latents
from earwitness.atlas.values import UnitKey
from earwitness.client.excerpts import samples_of
from earwitness.client.values import Sense
from earwitness.features import profile_from_dict
from earwitness.inference.backend import FloatArray

MEDIA = "media"
AT_ONCE = 8
"""Sounds of one part of the work: some seconds of it."""
Side = tuple[UnitKey, Sense]


@dataclass(frozen=True, eq=False)
class Shown:
    """Names in `media/` and captions of explanations, and of excerpts with their row, by unit and sense."""

    explanations: Mapping[Side, list[tuple[str, str]]]
    excerpts: Mapping[Side, list[tuple[str, str, int]]]


def show(
    means: Means,
    folder: Path,
    recordings: Sequence[Recording],
    heard: Heard,
    explanations: Mapping[Side, Found],
    excerpts: Mapping[Side, Sequence[int]],
) -> Shown:
    """Make what is not there, and remove what is not shown any more. Raises: as the work of the parts; OSError."""
    bundle, media = means.bundle, folder / MEDIA
    media.mkdir(exist_ok=True)
    profile = profile_from_dict(bundle.features)
    suffix = sound_suffix(profile.sample_rate_hz)
    latents: dict[str, FloatArray] = {}
    places: dict[str, tuple[int, int]] = {}
    shown_explanations: dict[Side, list[tuple[str, str]]] = {}
    shown_excerpts: dict[Side, list[tuple[str, str, int]]] = {}
    for side, found in explanations.items():
        names = [f"g{digest(FORMAT, bundle.weights_sha256, each.tobytes().hex())[:20]}" for each in found.latents]
        latents.update(zip(names, found.latents, strict=True))
        shown_explanations[side] = [(name, f"seed {seed}") for name, seed in zip(names, found.seeds, strict=True)]
    for side, rows in excerpts.items():
        shown_excerpts[side] = []
        for row in rows:
            recording, place = int(heard.recording[row]), int(heard.place[row])
            name = f"r{digest(FORMAT, hop_of(bundle), str(bundle.features), recordings[recording].digest, place)[:20]}"
            places[name] = (recording, place)
            first = samples_of(profile, place * hop_of(bundle), bundle.spectrogram_shape[1]).start
            caption = f"{recordings[recording].path.name}, {first / profile.sample_rate_hz:.1f} s"
            shown_excerpts[side].append((name, caption, row))

    def there(name: str) -> bool:
        return all(
            path.is_file() and path.stat().st_size for path in (media / f"{name}.{each}" for each in (suffix, "png"))
        )

    wanted = [name for name in latents if not there(name)]
    lots: list[tuple[list[str], tuple[object, ...]]] = []
    for start in range(0, len(wanted), AT_ONCE):
        lot = wanted[start : start + AT_ONCE]
        lots.append((lot, (show_latents, means.place, bundle, np.stack([latents[name] for name in lot]))))
    by_recording: dict[int, list[str]] = {}
    for name, (recording, _) in places.items():
        if not there(name):
            by_recording.setdefault(recording, []).append(name)
    for recording, lot in by_recording.items():
        at = [places[name][1] for name in lot]
        lots.append((lot, (show_excerpts, bundle, recordings[recording].path, at)))
    total, done = sum(len(lot) for lot, _ in lots), 0
    words = "sounds made (stage 3 of 3)"

    def take(index: int, found: list[Medium]) -> None:
        nonlocal done
        for name, medium in zip(lots[index][0], found, strict=True):
            write_bytes(media / f"{name}.png", medium.picture)
            write_bytes(media / f"{name}.{suffix}", medium.sound)
        done += len(found)
        means.on_progress(done, total, words)

    if lots:
        means.on_progress(0, total, words)
        means.workers.run(_call, [parts for _, parts in lots], take)
    kept = {f"{name}.{ending}" for name in (*latents, *places) for ending in (suffix, "png")}
    leave_only(media, lambda name: name in kept)
    return Shown(shown_explanations, shown_excerpts)


def _call(function: object, *words: object) -> object:
    assert callable(function)
    return function(*words)
