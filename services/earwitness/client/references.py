"""Building references: recordings → excerpts → activations of the served classifier → the scorer.

Each recording is one shard, or more where that is over the scorer's limits. Their id is a hash of the file's bytes and
of how excerpts are cut, so building again, or with a file more, counts no excerpt twice. Another hop makes other
excerpts, which are added.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from earwitness.client.activations import ActivationBatch
from earwitness.client.errors import RpcFailure
from earwitness.client.kept_layers import kept_layers
from earwitness.client.scorer import ScorerClient
from earwitness.client.values import FloatArray, KeptLayer, Reference, ReferenceIdentity, ReferenceVersion, Selection
from earwitness.detection.tables import KEY_WORDS
from earwitness.errors import InvalidArgument
from earwitness.features import (
    AudioError,
    FeatureProfile,
    Flaw,
    OnFlaw,
    decode_audio,
    find_audio,
    log_flaw,
    profile_from_dict,
    recording_excerpts,
    usable,
)
from earwitness.inference.agreement import ask_agreement
from earwitness.inference.backend import InferenceBackend, ModelUnusable
from earwitness.inference.metadata import BundleMetadata
from earwitness.rpc.tensors import exact, wire_bytes
from earwitness.vocabulary.limits import MAX_SHARD_BYTES, MAX_SHARD_ROWS

BATCH_ROWS = 64
ARRAY_SHARD_ROWS = 100_000
"""Rows of an array that go into one shard, if the scorer takes as many. References that are there were cut so, and the
same array must make the same shards again."""
WAY_OUT = "choose another name, or delete that reference first"


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is: recordings done and in all, and the activations (rows) they gave so far."""

    done_count: int
    recording_count: int
    row_count: int


@dataclass(frozen=True)
class BuiltReference:
    """A frozen reference and what this build did: shards added, shards that were there, recordings too short to use.

    None is too short for a model that judges whole recordings, see `judges_whole_recordings`.
    """

    reference: Reference
    version: ReferenceVersion
    added_shard_count: int
    duplicate_shard_count: int
    too_short: tuple[Path, ...]


def find_recordings(paths: Iterable[Path], on_flaw: OnFlaw = log_flaw, *, strict: bool = False) -> list[Path]:
    """The audio files among `paths` and, sorted, below the folders among them, which can be read.

    `on_flaw` receives every other one, with the reason. With `strict` that is an error, and so is a truncated file, for
    which all are decoded.

    Raises: InvalidArgument for a path that does not exist, when there is no audio at all, or none of it can be used.
    """
    try:
        irregular = list[Flaw]()
        found = find_audio(paths, irregular.append)
        if not found and not irregular:
            raise InvalidArgument("audio", "no audio files found; give files, or folders, of WAV, FLAC, Ogg, MP3, ...")
        return usable(found, on_flaw, strict=strict, irregular=irregular)
    except FileNotFoundError as err:
        raise InvalidArgument("audio", f"{err} does not exist; give audio files, or folders of them") from err
    except AudioError as err:
        raise InvalidArgument("audio", str(err)) from err


async def bundle_of(backend: InferenceBackend, model: str) -> BundleMetadata:
    """The backend's bundle of that name.

    Raises: InvalidArgument naming the models there are; ModelUnusable, InferenceUnavailable.
    """
    bundles = {bundle.name: bundle for bundle in await backend.bundles()}
    if model not in bundles and (why := (await backend.left_out()).get(model)):
        raise ModelUnusable(model, why)
    if model not in bundles:
        raise InvalidArgument("model", f"got {model!r}; {backend.description} serves {', '.join(bundles) or 'none'}")
    return bundles[model]


async def build_reference(
    scorer: ScorerClient,
    backend: InferenceBackend,
    name: str,
    *,
    model: str,
    layer: str,
    selection: Selection,
    recordings: Sequence[Path],
    keep_layers: Sequence[str] | None = None,
    hop_frames: int | None = None,
    description: str = "",
    on_progress: Callable[[BuildProgress], None] | None = None,
    on_flaw: OnFlaw = log_flaw,
) -> BuiltReference:
    """Build, or extend, the reference `name` from real audio and freeze it.

    `backend` runs the classifier of `model`; an excerpt begins every `hop_frames` frames (default: half an excerpt).
    Rows hold, beside `layer`, those of `keep_layers`, in the model's order; without it what the reference of that name
    holds, or a new one by `default_layers`. Recordings shorter than an excerpt are repeated where the model judges
    whole recordings, and else left out. One that cannot be read is left out, of one that breaks off what is there is
    used; `on_flaw` receives both.

    Raises: InvalidArgument for an unknown model or layer, a reference of that name with another identity or selection,
    or when no recording can be used; ModelUnusable, InconsistentModel, InferenceUnavailable; RpcFailure.
    """
    bundle = await bundle_of(backend, model)
    hop = bundle.spectrogram_shape[1] // 2 if hop_frames is None else hop_frames
    if hop < 1:
        raise InvalidArgument("hop_frames", f"got {hop}; give at least 1")
    identity = identity_of(bundle, layer)
    # Its own layer first: of a model that contradicts itself nothing is asked of the scorer.
    await ask_agreement(backend, bundle, [each for each in bundle.layers if each.name == layer])
    kept = await kept_layers(scorer, name, bundle, identity, selection, keep_layers)
    held = [each.name for each in kept] or [layer]
    await ask_agreement(backend, bundle, [each for each in bundle.layers if each.name in held and each.name != layer])
    size = shard_rows(sum(each.unit_count for each in kept) or identity.unit_count)
    profile, whole = profile_from_dict(bundle.features), judges_whole_recordings(bundle)
    added = duplicates = rows = 0
    too_short, left_out = list[Path](), list[Flaw]()
    for index, recording in enumerate(recordings, start=1):
        try:
            shard_id, excerpts = await asyncio.to_thread(
                _excerpts, recording, profile, hop, repeated=whole, on_flaw=on_flaw
            )
        except AudioError as err:
            left_out.append(Flaw.of(recording, err))
            on_flaw(left_out[-1])
            continue
        if len(excerpts):
            activations = await layers_activations(backend, bundle, held, excerpts)
            if not rows:  # from here on there is something to keep
                await _open_reference(scorer, name, identity, selection, description, kept)
            for part, start in enumerate(range(0, len(activations), size)):
                part_id = f"{shard_id}-{part}" if part else shard_id
                if await _append(scorer, name, part_id, activations[start : start + size]):
                    added += 1
                else:
                    duplicates += 1
            rows += len(activations)
        else:
            too_short.append(recording)
        if on_progress is not None:
            on_progress(BuildProgress(index, len(recordings), rows))
    if not rows:
        if left_out and not too_short:
            raise InvalidArgument("audio", f"no recording can be used: {left_out[0]}")
        seconds = bundle.spectrogram_shape[1] / profile.frames_per_second
        raise InvalidArgument("audio", f"no recording holds an excerpt; one takes {seconds:.2f} s")
    version = await scorer.freeze_reference(name)
    return BuiltReference(await scorer.get_reference(name), version, added, duplicates, tuple(too_short))


async def build_reference_from_activations(
    scorer: ScorerClient,
    name: str,
    batch: ActivationBatch,
    *,
    identity: ReferenceIdentity,
    selection: Selection,
    description: str = "",
) -> BuiltReference:
    """The same from activations of the identity's layer that were computed elsewhere; it keeps that layer alone.

    Raises: InvalidArgument when the batch's shape or origin does not fit the layer, or the reference has another
    identity or selection; RpcFailure.
    """
    activations = batch.activations
    if batch.origin not in (None, (identity.model, identity.weights_sha256, identity.layer)):
        raise InvalidArgument("activations", f"are of {batch.origin}, not of {_words(identity)}")
    if activations.ndim != 2 or activations.shape[1] != identity.unit_count or not len(activations):
        raise InvalidArgument(
            "activations",
            f"have shape {activations.shape}; {identity.layer} of {identity.model} needs (rows, {identity.unit_count})",
        )
    await _open_reference(scorer, name, identity, selection, description)
    added = duplicates = 0
    size = min(ARRAY_SHARD_ROWS, shard_rows(identity.unit_count, max(4, activations.dtype.itemsize)))
    for start in range(0, len(activations), size):
        rows = exact(activations[start : start + size])
        shard_id = f"rows-{hashlib.sha256(wire_bytes(rows)[1]).hexdigest()}"
        if await scorer.append_activations(name, shard_id, rows):
            added += 1
        else:
            duplicates += 1
    version = await scorer.freeze_reference(name)
    return BuiltReference(await scorer.get_reference(name), version, added, duplicates, ())


def identity_of(bundle: BundleMetadata, layer: str) -> ReferenceIdentity:
    """The identity of one layer of a bundle.

    Raises: InvalidArgument naming the layers there are.
    """
    found = next((each for each in bundle.layers if each.name == layer), None)
    if found is None:
        names = ", ".join(each.name for each in bundle.layers)
        raise InvalidArgument("layer", f"got {layer!r}; {bundle.name} has {names}")
    return ReferenceIdentity(
        bundle.name, bundle.weights_sha256, found.name, found.unit_count, str(bundle.features["name"])
    )


def judges_whole_recordings(bundle: BundleMetadata) -> bool:
    """Whether its outputs say genuine and spoof: that is said of a recording as a whole, however short.

    A detector of these hears a recording shorter than its input repeated (`features.utterances`), in training too; one
    that labels moments, such as singing, never hears such a recording.
    """
    words = {word.lower() for label in bundle.labels for word in (label.maximise, label.minimise)}
    return bool(words) and words <= KEY_WORDS


def shard_rows(unit_count: int, value_bytes: int = 4) -> int:
    """The most rows of so many units that the scorer takes as one shard."""
    return min(MAX_SHARD_ROWS, MAX_SHARD_BYTES // (value_bytes * unit_count))


async def layer_activations(
    backend: InferenceBackend, bundle: BundleMetadata, layer: str, excerpts: FloatArray
) -> FloatArray:
    """`excerpts` `[N, bands, frames]` → activations `[N, units]` of one layer of the served classifier."""
    return await layers_activations(backend, bundle, [layer], excerpts)


async def layers_activations(
    backend: InferenceBackend, bundle: BundleMetadata, layers: Sequence[str], excerpts: FloatArray
) -> FloatArray:
    """The same of several layers, `[N, units of all of them]` in their order, in one pass."""
    served_name = bundle.served_name("classifier")
    batches = []
    for start in range(0, len(excerpts), BATCH_ROWS):
        batch = np.ascontiguousarray(excerpts[start : start + BATCH_ROWS], np.float32)
        inputs, weights = {"spectrogram": batch}, bundle.weights_sha256
        found = await backend.infer(served_name, inputs, list(layers), weights_sha256=weights)
        batches.append(np.concatenate([found[layer] for layer in layers], axis=1))
    return np.concatenate(batches)


async def _open_reference(
    scorer: ScorerClient,
    name: str,
    identity: ReferenceIdentity,
    selection: Selection,
    description: str,
    kept_layers: tuple[KeptLayer, ...] = (),
) -> None:
    """Create the reference, or make sure that the one of that name is of the same activations."""
    try:
        await scorer.create_reference(
            name, identity=identity, selection=selection, description=description, kept_layers=kept_layers
        )
        return
    except RpcFailure as failure:
        if failure.code is not grpc.StatusCode.ALREADY_EXISTS:
            raise
    existing = await scorer.get_reference(name)
    if existing.identity != identity:
        raise InvalidArgument(
            "name", f"reference {name} is of {_words(existing.identity)}, not of {_words(identity)}; {WAY_OUT}"
        )
    if existing.selection != selection:
        raise InvalidArgument("name", f"reference {name} selects {existing.selection}, not {selection}; {WAY_OUT}")
    if existing.kept_layers != kept_layers:
        theirs, ours = (", ".join(each.name for each in kept) for kept in (existing.layers, kept_layers))
        raise InvalidArgument(
            "name", f"reference {name} keeps {theirs}, not {ours or f'{identity.layer} alone'}; {WAY_OUT}"
        )


async def _append(scorer: ScorerClient, name: str, shard_id: str, activations: FloatArray) -> bool:
    """True when the shard was added; False when the recording was counted before."""
    try:
        return await scorer.append_activations(name, shard_id, activations)
    except RpcFailure as failure:
        # The id says that it is the same recording, cut the same way: other bytes are the inference server's rounding,
        # which may differ with its batches, so the first copy stands.
        if failure.code is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        return False


def _excerpts(
    recording: Path, profile: FeatureProfile, hop_frames: int, *, repeated: bool, on_flaw: OnFlaw = log_flaw
) -> tuple[str, FloatArray]:
    """A recording's shard id and its excerpts `[N, bands, frames]`, see `recording_excerpts`."""
    decoded = decode_audio(recording)
    waveform = decoded.at(recording, profile.sample_rate_hz)
    for flaw in decoded.flaws(recording):
        on_flaw(flaw)
    # References that are there may hold what a decoder by itself makes of such a file: that is another shard.
    how = f"{profile.name} hop {hop_frames} {'mended ' if decoded.mended else ''}"
    key = how + hashlib.sha256(recording.read_bytes()).hexdigest()
    shard_id = f"audio-{hashlib.sha256(key.encode()).hexdigest()}"
    return shard_id, recording_excerpts(profile, waveform, hop_frames, repeated=repeated)


def _words(identity: ReferenceIdentity) -> str:
    return f"{identity.layer} of {identity.model} (weights {identity.weights_sha256[:12]}, {identity.feature_profile})"
