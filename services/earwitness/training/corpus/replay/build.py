"""Builds the replay corpus: plans every trial, lets the speakers speak, and records in parallel.

While a build is under way, <out>/.build-<fingerprint>/ holds what the speakers said and the finished files.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.files import whole_file
from earwitness.training.corpus.parallel import Progress, run_all, silent, worker_pool
from earwitness.training.corpus.replay.channel import render_trial
from earwitness.training.corpus.replay.config import (
    RECIPE_VERSION,
    REPLAY_SPLITS,
    SAMPLE_RATE_HZ,
    ReplayConfig,
    ReplaySplit,
)
from earwitness.training.corpus.replay.plan import Catalogue, Trial, plan_trials
from earwitness.training.corpus.replay.speech import PHRASES, load_speech, save_speech
from earwitness.training.corpus.replay.talkers import Talker, recorded_talkers, recordings_digest, voices
from earwitness.training.corpus.storage import (
    BUILD_PREFIX,
    Corpus,
    complete_corpus,
    finished_corpus,
    replace_corpus,
)

PRELOAD = (__name__, "scipy.signal", "soundfile", "soxr")
AUDIO_FOLDERS: Mapping[ReplaySplit, str] = {split: f"ASVspoof2017_V2_{split}" for split in REPLAY_SPLITS}
PROTOCOL_FOLDER = "protocol_V2"
PROTOCOLS: Mapping[ReplaySplit, str] = {
    "train": "ASVspoof2017_V2_train.trn.txt",
    "dev": "ASVspoof2017_V2_dev.trl.txt",
    "eval": "ASVspoof2017_V2_eval.trl.txt",
}
TRIALS_FILE = "trials.jsonl"
PARTS = (*AUDIO_FOLDERS.values(), PROTOCOL_FOLDER, TRIALS_FILE)

VOICES_SOURCE = (
    "espeak-ng through espeakng-loader (GPL-3.0 program; its speech output is free to use), resynthesised with WORLD"
)
RECORDINGS_SOURCE = "recordings given by whoever built the corpus, under their own licence"
SOURCES = [
    "rooms, microphones and loudspeakers: simulated, nothing recorded",
    "codecs: libsndfile (LGPL) with LAME, Opus, Vorbis and its own G.711, G.721 and GSM 06.10",
]


@dataclass(frozen=True)
class _Recording:
    """A trial to render, the file it goes to, and the file with what its speaker says."""

    config: ReplayConfig
    trial: Trial
    path: Path
    speech: Path


def build_replay_corpus(
    config: ReplayConfig,
    out: Path | str,
    workers: int = 1,
    progress: Progress = silent,
    *,
    speech: Path | None = None,
    force: bool = False,
) -> Corpus:
    """Builds the corpus in `out`, or returns it when this very configuration is there already.

    Voices of espeak-ng talk, or the speakers of the folder `speech`, a folder of recordings each. An interrupted build
    goes on where it was. The bytes do not depend on `workers`. With `force` a corpus of another configuration is
    replaced.

    Raises: InvalidArgument when `workers` is not positive; DatasetError when `out` holds another corpus, or something
        else, or `speech` cannot be used; OSError when `out` cannot be written.
    """
    if workers < 1:
        raise InvalidArgument("workers", f"is {workers}; give at least 1")
    out = Path(out)
    catalogue = _catalogue(config)
    talkers = voices(config) if speech is None else recorded_talkers(speech, config)
    fingerprint = config.fingerprint(catalogue.to_dict(), "" if speech is None else recordings_digest(talkers))
    there = finished_corpus(out, fingerprint, force=force, parts=PARTS)
    if there is not None:
        return there
    plans = {split: plan_trials(config, catalogue, split, talkers[split]) for split in REPLAY_SPLITS}
    work = out / f"{BUILD_PREFIX}{fingerprint[:16]}"
    spoken, finished = work / "speech", work / "finished"
    for folder in (spoken, finished / PROTOCOL_FOLDER, *(finished / name for name in AUDIO_FOLDERS.values())):
        folder.mkdir(parents=True, exist_ok=True)
    recordings = [
        _Recording(config, trial, finished / AUDIO_FOLDERS[split] / trial.file, spoken / f"{trial.speaker}.npz")
        for split in REPLAY_SPLITS
        for trial in plans[split]
    ]
    # espeak-ng's output depends on what its process said before: one fresh process per speaker.
    with worker_pool(workers, PRELOAD, tasks_per_process=1) as pool:
        saying = [(talker, spoken / f"{talker.name}.npz") for split in REPLAY_SPLITS for talker in talkers[split]]
        missing = [each for each in saying if not each[1].is_file()]
        run_all(pool, _listen, missing, "speakers", progress, len(saying) - len(missing))
    with worker_pool(workers, PRELOAD) as pool:
        pending = [each for each in recordings if not each.path.is_file()]
        run_all(pool, _record, pending, "recordings", progress, len(recordings) - len(pending))
    for split in REPLAY_SPLITS:
        lines = "".join(f"{trial.line}\n" for trial in plans[split])
        (finished / PROTOCOL_FOLDER / PROTOCOLS[split]).write_text(lines)
    facts = (json.dumps(asdict(trial)) + "\n" for split in REPLAY_SPLITS for trial in plans[split])
    (finished / TRIALS_FILE).write_text("".join(facts))
    replace_corpus(out)
    _move_parts(finished, out)
    said = PHRASES[: config.phrases] if speech is None else ()
    manifest = {
        "kind": "replay",
        "fingerprint": fingerprint,
        "recipe_version": RECIPE_VERSION,
        "config": config.to_dict(),
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "sources": [VOICES_SOURCE if speech is None else RECORDINGS_SOURCE, *SOURCES],
        "phrases": {f"S{number:02d}": text for number, text in enumerate(said, start=1)},
        "splits": {split: _statistics(plans[split], out / AUDIO_FOLDERS[split]) for split in REPLAY_SPLITS},
        "catalogue": catalogue.to_dict(),
    }
    return complete_corpus(out, manifest)


@lru_cache(maxsize=2)
def _catalogue(config: ReplayConfig) -> Catalogue:
    return Catalogue.draw(config)


def _listen(task: tuple[Talker, Path]) -> None:
    talker, path = task
    said = talker.speak()
    with whole_file(path) as partial:
        save_speech(said, partial)


@lru_cache(maxsize=32)
def _speech(path: Path) -> Sequence[NDArray[np.float32]]:
    return load_speech(path)


def _record(task: _Recording) -> None:
    import soundfile

    samples = render_trial(task.trial, _catalogue(task.config), _speech(task.speech)[task.trial.phrase])
    with whole_file(task.path) as partial:
        soundfile.write(partial, samples, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")


def _move_parts(finished: Path, out: Path) -> None:
    """Puts the finished parts in place of those of an earlier corpus."""
    for part in PARTS:
        target = out / part
        if target.is_dir():
            shutil.rmtree(target)
        (finished / part).replace(target)


def _statistics(trials: Sequence[Trial], folder: Path) -> dict[str, Any]:
    import soundfile

    attacks = [trial.attack for trial in trials if trial.attack is not None]
    kinds = Counter(attack.loudspeaker.partition("-")[2] for attack in attacks)
    samples = sum(soundfile.info(folder / trial.file).frames for trial in trials)
    return {
        "trials": len(trials),
        "genuine": len(trials) - len(attacks),
        "spoof": len(attacks),
        "hours": round(samples / SAMPLE_RATE_HZ / 3600, 3),
        "speakers": len({trial.speaker for trial in trials}),
        "loudspeaker_kinds": dict(sorted(kinds.items())),
        "codecs": dict(sorted(Counter(attack.codec or "none" for attack in attacks).items())),
    }
