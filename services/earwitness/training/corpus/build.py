"""Builds the corpus: plans every clip, analyses the speakers, renders in parallel, and assembles the data sets.

While a build is under way, <out>/.build-<fingerprint>/ holds the analysed speakers and the finished shards.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.arrays import load
from earwitness.errors import InvalidArgument
from earwitness.files import whole_file
from earwitness.training.corpus.clip import render_clip
from earwitness.training.corpus.config import SPLITS, CorpusConfig
from earwitness.training.corpus.dataset import Clip, LabelledSpectrograms, Quantisation
from earwitness.training.corpus.parallel import Progress, run_all, silent, worker_pool
from earwitness.training.corpus.plan import ClipPlan, plan_clips
from earwitness.training.corpus.storage import (
    BUILD_PREFIX,
    Corpus,
    complete_corpus,
    finished_corpus,
    replace_corpus,
)
from earwitness.training.corpus.world import SpokenVoice

PRELOAD = (__name__, "scipy.signal")

SOURCES = [
    "hibari-tts, voice 'heart' (Apache-2.0)",
    "espeak-ng through espeakng-loader (GPL-3.0 program; its speech output is free to use), resynthesised with WORLD",
    "sinsy with the HTS voice NIT-SONG070-F001 by the Nagoya Institute of Technology (CC BY 3.0)",
    "immich-memories-music, 28 instrumental tracks (MIT)",
    "TimGM6mb SoundFont from pretty_midi (rendered music only)",
]


@dataclass(frozen=True)
class _Shard:
    """Neighbouring clips that one worker renders and saves together."""

    path: Path
    voices: Path
    config: CorpusConfig
    plans: tuple[ClipPlan, ...]


def build_corpus(
    config: CorpusConfig, out: Path | str, workers: int = 1, progress: Progress = silent, *, force: bool = False
) -> Corpus:
    """Builds the corpus in `out`, or returns it when this very configuration is there already.

    An interrupted build goes on where it was. The bytes do not depend on `workers`. With `force` a corpus of another
    configuration is replaced; those who have it open keep what they opened.

    Raises: InvalidArgument when `workers` is not positive; DatasetError when `out` holds another corpus, or something
    else.
    """
    if workers < 1:
        raise InvalidArgument("workers", f"is {workers}; give at least 1")
    out = Path(out)
    fingerprint = config.fingerprint()
    there = finished_corpus(out, fingerprint, force=force)
    if there is not None:
        return there
    work = out / f"{BUILD_PREFIX}{fingerprint[:16]}"
    voices, shards = work / "voices", work / "shards"
    for folder in (voices, shards):
        folder.mkdir(parents=True, exist_ok=True)
    plans = {split: plan_clips(config, split) for split in SPLITS}
    speakers = sorted({speaker for split in SPLITS for plan in plans[split] for speaker in plan.espeak_speakers})
    analyse_speakers(speakers, voices, workers, progress)
    todo = {split: list(_shards(plans[split], config, shards, voices)) for split in SPLITS}
    pending = [shard for split in SPLITS for shard in todo[split] if not shard.path.is_file()]
    with worker_pool(workers, PRELOAD) as pool:
        done = sum(len(todo[split]) for split in SPLITS) - len(pending)
        run_all(pool, _render_shard, pending, "clips", progress, done)
    replace_corpus(out)
    statistics = {split: _assemble(config, [shard.path for shard in todo[split]], out / split) for split in SPLITS}
    manifest = {
        "fingerprint": fingerprint,
        "config": config.to_dict(),
        "features": config.profile.to_dict(),
        "sources": SOURCES,
        "splits": statistics,
    }
    return complete_corpus(out, manifest)


def analyse_speakers(speakers: Sequence[str], folder: Path, workers: int, progress: Progress = silent) -> None:
    """Fills `folder` with the WORLD analysis of every espeak-ng speaker that is not there yet."""
    missing = [speaker for speaker in speakers if not voice_path(folder, speaker).is_file()]
    # espeak-ng's output depends on what its process said before: one fresh process per speaker.
    with worker_pool(workers, PRELOAD, tasks_per_process=1) as pool:
        tasks = [(speaker, folder) for speaker in missing]
        run_all(pool, _analyse_speaker, tasks, "speakers", progress, len(speakers) - len(missing))


def voice_path(folder: Path, speaker: str) -> Path:
    """Where `analyse_speakers` puts a speaker."""
    return folder / f"{speaker}.npz"


def _analyse_speaker(task: tuple[str, Path]) -> None:
    speaker, folder = task
    path = voice_path(folder, speaker)
    voice = SpokenVoice.of_speaker(speaker)
    with whole_file(path) as partial:
        voice.save(partial)


def _shards(plans: list[ClipPlan], config: CorpusConfig, folder: Path, voices: Path) -> Iterator[_Shard]:
    for first in range(0, len(plans), config.shard_clips):
        chosen = tuple(plans[first : first + config.shard_clips])
        yield _Shard(folder / f"{chosen[0].split}-{first:06d}.npz", voices, config, chosen)


def _render_shard(shard: _Shard) -> None:
    profile, quantisation = shard.config.profile, Quantisation.of_profile(shard.config.profile)

    @lru_cache(maxsize=max(1, sum(len(plan.espeak_speakers) for plan in shard.plans)))
    def voice_of(speaker: str) -> SpokenVoice:
        return SpokenVoice.load(voice_path(shard.voices, speaker))

    frames, labels, facts = [], [], []
    for plan in shard.plans:
        rendered = render_clip(plan, shard.config, voice_of)
        frames.append(quantisation.quantise(profile.spectrogram(rendered.waveform)))
        labels.append(rendered.vocal_frames)
        facts.append(rendered.facts)
    with whole_file(shard.path) as partial, partial.open("wb") as file:
        np.savez(file, frames=np.stack(frames), labels=np.stack(labels), facts=json.dumps(facts))


def _assemble(config: CorpusConfig, shards: list[Path], folder: Path) -> dict[str, Any]:
    """Joins the shards of a split into its data set and returns its statistics."""
    frames, labels, facts = [], [], []
    for path in shards:
        with load(path) as stored:
            frames.append(stored["frames"].reshape(-1, config.profile.band_count))
            labels.append(stored["labels"].ravel())
            facts += json.loads(str(stored["facts"]))
    count = config.clip_frames
    data = LabelledSpectrograms(
        config.profile, Quantisation.of_profile(config.profile), np.concatenate(frames), np.concatenate(labels),
        tuple(Clip(index * count, count, fact) for index, fact in enumerate(facts)),
    )  # fmt: skip
    data.save(folder)
    singing = [fact for fact in facts if fact["vocal"]]
    return {
        "clips": len(facts),
        "hours": round(len(facts) * config.clip_seconds / 3600, 3),
        "vocal_fraction": round(data.label_share, 4),
        "singing_clips": len(singing),
        "kinds": dict(sorted(Counter(fact["kind"] for fact in facts if fact["kind"]).items())),
        "engines": dict(sorted(Counter(fact["engine"] for fact in singing).items())),
        "speakers": len({fact["speaker"] for fact in singing}),
        "backings": dict(sorted(Counter(fact["backing"] for fact in facts).items())),
        "lead_clips": sum(fact["lead_program"] is not None for fact in facts),
    }
