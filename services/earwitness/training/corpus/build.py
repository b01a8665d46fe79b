"""Builds the corpus: plans every clip, analyses the speakers, renders in parallel, and assembles the data sets.

<out>/manifest.json           configuration, fingerprint, statistics; its presence says "complete"
<out>/{train,valid,test}/     labelled spectrograms, see dataset.py
<out>/.build-<fingerprint>/   analysed speakers and finished shards while a build is under way
"""

import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from earwitness.training.corpus.clip import ClipPlan, plan_clips, render_clip
from earwitness.training.corpus.config import SPLITS, CorpusConfig, Split
from earwitness.training.corpus.dataset import Clip, DatasetError, LabelledSpectrograms, Quantisation
from earwitness.training.corpus.world import SpokenVoice

Item = TypeVar("Item")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the items done and the items there are."""


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Progress nobody watches."""


BUILD_PREFIX = ".build-"

SOURCES = [
    "hibari-tts, voice 'heart' (Apache-2.0)",
    "espeak-ng through espeakng-loader (GPL-3.0 program; its speech output is free to use), resynthesised with WORLD",
    "sinsy with the HTS voice NIT-SONG070-F001 by the Nagoya Institute of Technology (CC BY 3.0)",
    "immich-memories-music, 28 instrumental tracks (MIT)",
    "TimGM6mb SoundFont from pretty_midi (rendered music only)",
]


@dataclass(frozen=True)
class Corpus:
    """A built corpus: where it is and what the manifest says."""

    folder: Path
    manifest: dict[str, Any]

    def open(self, split: Split) -> LabelledSpectrograms:
        return LabelledSpectrograms.open(self.folder / split)


@dataclass(frozen=True)
class _Shard:
    """Neighbouring clips that one worker renders and saves together."""

    path: Path
    voices: Path
    config: CorpusConfig
    plans: tuple[ClipPlan, ...]


def build_corpus(
    config: CorpusConfig, out: Path | str, workers: int = 1, progress: Progress = _silent, *, force: bool = False
) -> Corpus:
    """Builds the corpus in `out`, or returns it when this very configuration is there already.

    An interrupted build goes on where it was. The bytes do not depend on `workers`. With `force` a corpus of another
    configuration is replaced; those who have it open keep what they opened.

    Raises: ValueError when `workers` is not positive; DatasetError when `out` holds another corpus, or something else.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1")
    out = Path(out)
    fingerprint = config.fingerprint()
    manifest_path = out / "manifest.json"
    if manifest_path.is_file():
        there = open_corpus(out)
        if there.manifest["fingerprint"] == fingerprint:
            return there
        if not force:
            raise DatasetError(
                f"{out} holds another corpus ({there.manifest['fingerprint'][:12]}, this one is {fingerprint[:12]}); "
                "give another folder, or replace it with --force"
            )
        manifest_path.unlink()
    elif out.exists() and any(not each.name.startswith(BUILD_PREFIX) and each.name not in SPLITS for each in _in(out)):
        raise DatasetError(f"{out} holds something else than a corpus; give a folder of its own")
    work = out / f"{BUILD_PREFIX}{fingerprint[:16]}"
    voices, shards = work / "voices", work / "shards"
    for folder in (voices, shards):
        folder.mkdir(parents=True, exist_ok=True)
    plans = {split: plan_clips(config, split) for split in SPLITS}
    speakers = sorted({plan.speaker for split in SPLITS for plan in plans[split] if plan.engine == "world"})
    analyse_speakers(speakers, voices, workers, progress)
    todo = {split: list(_shards(plans[split], config, shards, voices)) for split in SPLITS}
    pending = [shard for split in SPLITS for shard in todo[split] if not shard.path.is_file()]
    with _pool(workers, tasks_per_process=None) as pool:
        _run(pool, _render_shard, pending, "clips", sum(len(todo[split]) for split in SPLITS), progress)
    statistics = {split: _assemble(config, [shard.path for shard in todo[split]], out / split) for split in SPLITS}
    manifest = {
        "fingerprint": fingerprint,
        "config": config.to_dict(),
        "features": config.profile.to_dict(),
        "sources": SOURCES,
        "splits": statistics,
    }
    with _whole_file(manifest_path) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
    for unfinished in _in(out):
        if unfinished.name.startswith(BUILD_PREFIX):
            shutil.rmtree(unfinished)
    return Corpus(out, manifest)


def open_corpus(folder: Path | str) -> Corpus:
    """A corpus built before.

    Raises: DatasetError when the folder holds no complete corpus.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        raise DatasetError(f"{folder} holds no complete corpus (no manifest.json); `earwitness corpus build` makes one")
    try:
        manifest = json.loads(path.read_text())
        manifest["fingerprint"], manifest["sources"]
    except (ValueError, KeyError, TypeError) as err:
        raise DatasetError(f"{path} is no corpus manifest ({err!r}); give the folder of a corpus") from err
    return Corpus(folder, manifest)


def analyse_speakers(speakers: Sequence[str], folder: Path, workers: int, progress: Progress = _silent) -> None:
    """Fills `folder` with the WORLD analysis of every espeak-ng speaker that is not there yet."""
    missing = [speaker for speaker in speakers if not voice_path(folder, speaker).is_file()]
    # espeak-ng's output depends on what its process said before: one fresh process per speaker.
    with _pool(workers, tasks_per_process=1) as pool:
        _run(pool, _analyse_speaker, [(speaker, folder) for speaker in missing], "speakers", len(speakers), progress)


def voice_path(folder: Path, speaker: str) -> Path:
    """Where `analyse_speakers` puts a speaker."""
    return folder / f"{speaker}.npz"


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@contextmanager
def _pool(workers: int, tasks_per_process: int | None) -> Iterator[Executor]:
    """Worker processes; on failure or Ctrl-C what has not begun is dropped."""
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload([__name__, "scipy.signal"])
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, max_tasks_per_child=tasks_per_process)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """One thread per worker, and no worker that outlives a killed build."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(
    pool: Executor, work: Callable[[Item], None], items: Iterable[Item], stage: str, total: int, progress: Progress
) -> None:
    futures = [pool.submit(work, item) for item in items]
    done = total - len(futures)
    progress(stage, done, total)
    for future in as_completed(futures):
        future.result()
        done += 1
        progress(stage, done, total)


def _analyse_speaker(task: tuple[str, Path]) -> None:
    speaker, folder = task
    path = voice_path(folder, speaker)
    voice = SpokenVoice.of_speaker(speaker)
    with _whole_file(path) as partial:
        voice.save(partial)


def _shards(plans: list[ClipPlan], config: CorpusConfig, folder: Path, voices: Path) -> Iterator[_Shard]:
    for first in range(0, len(plans), config.shard_clips):
        chosen = tuple(plans[first : first + config.shard_clips])
        yield _Shard(folder / f"{chosen[0].split}-{first:06d}.npz", voices, config, chosen)


def _render_shard(shard: _Shard) -> None:
    profile, quantisation = shard.config.profile, Quantisation.of_profile(shard.config.profile)

    @lru_cache(maxsize=len(shard.plans))
    def voice_of(speaker: str) -> SpokenVoice:
        return SpokenVoice.load(voice_path(shard.voices, speaker))

    frames, labels, facts = [], [], []
    for plan in shard.plans:
        rendered = render_clip(plan, shard.config, voice_of)
        frames.append(quantisation.quantise(profile.spectrogram(rendered.waveform)))
        labels.append(rendered.vocal_frames)
        facts.append(rendered.facts)
    with _whole_file(shard.path) as partial, partial.open("wb") as file:
        np.savez(file, frames=np.stack(frames), labels=np.stack(labels), facts=json.dumps(facts))


def _assemble(config: CorpusConfig, shards: list[Path], folder: Path) -> dict[str, Any]:
    """Joins the shards of a split into its data set and returns its statistics."""
    frames, labels, facts = [], [], []
    for path in shards:
        with np.load(path) as stored:
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
        "vocal_fraction": round(data.vocal_fraction, 4),
        "singing_clips": len(singing),
        "engines": dict(sorted(Counter(fact["engine"] for fact in singing).items())),
        "speakers": len({fact["speaker"] for fact in singing}),
        "backings": dict(sorted(Counter(fact["backing"] for fact in facts).items())),
        "lead_clips": sum(fact["lead_program"] is not None for fact in facts),
    }


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` at the end: no reader ever sees half a file."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    yield partial
    partial.replace(path)
