"""Evaluates a generator through the classifier's eyes, and chooses the checkpoint to ship.

The measure is the Fréchet distance over the classifier's last hidden layer between generated and held-out real
excerpts. The checkpoint is chosen on the validation split and reported on the test split, which it has not seen, beside
three other distances: two halves of the real recordings (the floor), real training excerpts (what a perfect model of
the training data would reach) and per-band Gaussian noise with the right means and variances (what colour alone
achieves).
"""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.features import profile_from_dict
from earwitness.files import whole_file
from earwitness.scorer.frechet import Factored, factor_rows, frechet_distance
from earwitness.training.checkpoint import (
    DETECTORS,
    CheckpointError,
    CheckpointMeta,
    file_sha256,
    lineage,
    load_checkpoint,
    other_corpus,
    require_features,
    save_checkpoint,
)
from earwitness.training.excerpts import ExcerptSource, open_excerpts
from earwitness.training.measured import Measured, band_noise, drawn, generated, measure, unit_count
from earwitness.training.networks import Detector, Generator
from earwitness.training.run_folder import Progress, keep_freed_memory, silent
from earwitness.training.train_gan import checkpoints, run_of, spectrograms_of

SAMPLING = 2
"""Raised with every change of what is drawn for equal seeds: scores of another drawing are not reused."""


@dataclass(frozen=True)
class RealExcerpts:
    """Held-out excerpts: what the classifier makes of them, and that factored."""

    measured: Measured
    reference: Factored

    @classmethod
    def draw(cls, data: ExcerptSource, network: Detector, count: int, seed: int) -> "RealExcerpts":
        """Raises: InvalidArgument for so few that a distance would tell of their number."""
        units = unit_count(network, data.profile.excerpt_shape)
        if count <= 2 * units:
            raise InvalidArgument(
                "excerpts",
                f"got {count}, expected more than {2 * units}: twice the {units} units of "
                f"{network.layer_names[-2]}, over which distances are taken",
            )
        measured = measure(network, drawn(data, count, seed))
        return cls(measured, factor_rows(measured.embedding))

    @property
    def count(self) -> int:
        return len(self.measured.embedding)

    def distance(self, embedding: NDArray[np.float32]) -> float:
        """Fréchet distance of rows `[N, units]`."""
        return float(frechet_distance(embedding, self.reference).distance)


@dataclass(frozen=True)
class CheckpointScore:
    """One generator against held-out excerpts: FID, and root mean square differences per band (log units).

    `excerpts` is their number, on each side.
    """

    update: int
    excerpts: int
    fid: float
    band_mean_distance: float
    band_std_distance: float


@dataclass(frozen=True)
class GeneratorReport:
    """FIDs over the classifier's layer `layer`, each of `excerpts` excerpts to as many of the test.

    Halves: excerpts of every second test recording to those of the others; None where there is one recording only.
    `warnings` are what makes the figures less than they seem.
    """

    layer: str
    excerpts: int
    fid: float
    fid_real_halves: float | None
    fid_training: float
    fid_band_noise: float
    band_mean_distance: float
    band_std_distance: float
    warnings: tuple[str, ...] = ()

    @property
    def noise_ratio(self) -> float:
        """How many times nearer the generator is than noise."""
        return self.fid_band_noise / self.fid

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "noise_ratio": self.noise_ratio}


def evaluate_generator(
    generator: Path,
    classifier: Path,
    corpus: Path,
    excerpts: int = 2000,
    seed: int = 1,
    cache: Path | None = None,
    progress: Progress = silent,
) -> GeneratorReport:
    """Distances to the test split over the classifier's embedding; `seed` is another than that of `choose_checkpoint`.

    `cache` is the folder of the spectrograms of a corpus of recordings; it defaults to the one of the generator's run.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used; InvalidArgument for too few
    excerpts, or a classifier that the generator was trained against.
    """
    judge, judge_meta = load_checkpoint(classifier, *DETECTORS)
    network = cast(Detector, judge)
    module, meta = load_checkpoint(generator, "generator")
    refuse_own_judge(generator, classifier)
    keep_freed_memory()
    profile = profile_from_dict(meta.features)
    opened = open_excerpts(corpus, profile, cache or spectrograms_of(run_of(generator)))
    test = opened.open("test")
    for path, own in ((classifier, judge_meta), (generator, meta)):
        require_features(path, own, test.profile, str(corpus))
    progress(0, 4, "test excerpts")
    real = RealExcerpts.draw(test, network, excerpts, seed)
    progress(1, 4, "samples")
    score = score_generator(cast(Generator, module), network, real, seed, int(meta.training.get("updates", 0)))
    progress(2, 4, "halves of the test")
    halves = _halves_distance(network, test, excerpts, seed)
    progress(3, 4, "training excerpts and noise")
    training = measure(network, drawn(opened.open("train"), excerpts, seed))
    floor = cast(Generator, module).log_floor
    noise = measure(network, band_noise(real.measured, profile.excerpt_shape[1], floor, seed))
    return GeneratorReport(
        layer=network.layer_names[-2],
        excerpts=excerpts,
        fid=score.fid,
        fid_real_halves=halves,
        fid_training=real.distance(training.embedding),
        fid_band_noise=real.distance(noise.embedding),
        band_mean_distance=score.band_mean_distance,
        band_std_distance=score.band_std_distance,
        warnings=(
            *other_corpus("detector", judge_meta.training.get("corpus"), opened.fingerprint),
            *other_corpus("generator", meta.training.get("corpus"), opened.fingerprint),
        ),
    )


def choose_checkpoint(
    run_folder: Path,
    classifier: Path,
    corpus: Path,
    excerpts: int = 2000,
    window: int = 3,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Path:
    """Scores a run's checkpoints and copies the best to `best.pt`: the middle of the `window` of lowest median FID.

    Distances are to the validation split. One FID is noisy and a GAN swings, so a checkpoint is only as good as its
    neighbours. Scores are kept in fid.json (and fid.csv): a second call with the same classifier and corpus scores only
    what is new. `cache` is the folder of the spectrograms of a corpus of recordings; it defaults to the run's own.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used, CheckpointError without
    checkpoints, and as `evaluate_generator`.
    """
    paths = checkpoints(run_folder)
    if not paths:
        raise CheckpointError(f"{run_folder}: holds no generator checkpoints; train a generator there first")
    judge, judge_meta = load_checkpoint(classifier, *DETECTORS)
    network = cast(Detector, judge)
    keep_freed_memory()
    opened = open_excerpts(corpus, profile_from_dict(judge_meta.features), cache or spectrograms_of(run_folder))
    valid = opened.open("valid")
    require_features(classifier, judge_meta, valid.profile, str(corpus))
    of = f"{SAMPLING} {file_sha256(classifier)} {opened.fingerprint} {excerpts} {seed}"
    identity = hashlib.sha256(of.encode()).hexdigest()
    known = _known_scores(run_folder, identity)
    # All of a run go back to the same runs, and have the same features.
    meta = load_checkpoint(paths[0], "generator")[1]
    refuse_own_judge(paths[0], classifier)
    require_features(paths[0], meta, valid.profile, str(corpus))
    todo = [path for path in paths if path.name not in known]
    real = RealExcerpts.draw(valid, network, excerpts, seed) if todo else None
    for done, path in enumerate(todo, start=1):
        assert real is not None
        module, meta = load_checkpoint(path, "generator")
        score = score_generator(cast(Generator, module), network, real, seed, int(meta.training["updates"]))
        known[path.name] = score
        _write_scores(run_folder, identity, known)
        progress(done, len(todo), f"{path.name} FID {score.fid:.2f}")
    best = paths[best_index([known[path.name].fid for path in paths], window)]
    _save_best(best, run_folder / "best.pt", known[best.name])
    return run_folder / "best.pt"


def best_index(fids: list[float], window: int) -> int:
    """Middle of the `window` neighbours of lowest median, of equals the lowest itself; of all, when there are fewer."""
    window = min(window, len(fids))
    half = window // 2
    starts = range(len(fids) - window + 1)
    return half + min(starts, key=lambda first: (float(np.median(fids[first : first + window])), fids[first + half]))


def score_generator(
    generator: Generator, network: Detector, real: RealExcerpts, seed: int, update: int
) -> CheckpointScore:
    """FID and band distances of as many samples as there are real excerpts; equal seeds take equal latents."""
    samples, wanted = measure(network, generated(generator, real.count, seed)), real.measured
    return CheckpointScore(
        update=update,
        excerpts=real.count,
        fid=real.distance(samples.embedding),
        band_mean_distance=float(np.sqrt(np.mean((samples.band_mean - wanted.band_mean) ** 2))),
        band_std_distance=float(np.sqrt(np.mean((samples.band_std - wanted.band_std) ** 2))),
    )


def _halves_distance(network: Detector, data: ExcerptSource, count: int, seed: int) -> float | None:
    """Distance of excerpts of one half of the recordings to the other; None when one recording alone is usable."""
    _, length = data.profile.excerpt_shape
    usable = [recording for recording, frames in enumerate(data.frame_counts) if frames >= length]
    if len(usable) < 2:
        return None
    first, second = (measure(network, drawn(data, count, seed, usable[half::2])).embedding for half in (0, 1))
    return float(frechet_distance(first, factor_rows(second)).distance)


def _save_best(source: Path, target: Path, score: CheckpointScore) -> None:
    module, meta = load_checkpoint(source, "generator")
    training = {**meta.training, "score": asdict(score), "checkpoint": source.name}
    chosen = CheckpointMeta(meta.architecture, meta.arguments, meta.features, meta.labels, training)
    save_checkpoint(target, module, chosen)


def refuse_own_judge(generator: Path, classifier: Path) -> None:
    """Raises: InvalidArgument when the generator, or what it began with, was trained against this classifier's
    layers.
    """
    _, meta = load_checkpoint(generator, "generator")
    judge = file_sha256(classifier)
    for age, run in enumerate(lineage(meta.training)):
        if run.get("detector", {}).get("sha256") == judge:
            what = f"what {generator} began with" if age else generator
            raise InvalidArgument(
                "classifier",
                f"{classifier} is the detector that {what} was trained against; its distance says little "
                "there, give a classifier from another seed",
            )


def _known_scores(run_folder: Path, identity: str) -> dict[str, CheckpointScore]:
    path = run_folder / "fid.json"
    if not path.is_file():
        return {}
    body = json.loads(path.read_text())
    if body["identity"] != identity:
        return {}
    return {name: CheckpointScore(**score) for name, score in body["scores"].items()}


def _write_scores(run_folder: Path, identity: str, scores: dict[str, CheckpointScore]) -> None:
    body = {"identity": identity, "scores": {name: asdict(score) for name, score in scores.items()}}
    with whole_file(run_folder / "fid.json") as partial:
        partial.write_text(json.dumps(body, indent=2) + "\n")
    with whole_file(run_folder / "fid.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CheckpointScore)])
        writer.writeheader()
        writer.writerows(asdict(score) for score in sorted(scores.values(), key=lambda score: score.update))
