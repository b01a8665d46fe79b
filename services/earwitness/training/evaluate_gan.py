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
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.features import profile_from_dict
from earwitness.scorer.frechet import Factored, factor_rows, frechet_distance
from earwitness.training.checkpoint import (
    DETECTORS,
    CheckpointMeta,
    file_sha256,
    lineage,
    load_checkpoint,
    other_corpus,
    require_features,
    save_checkpoint,
)
from earwitness.training.excerpts import ExcerptSource, open_excerpts
from earwitness.training.networks import Detector, Generator
from earwitness.training.run_folder import Progress, keep_freed_memory, silent
from earwitness.training.train_gan import checkpoints, spectrograms_of

Excerpts = NDArray[np.float32]
BATCH = 64


@dataclass(frozen=True)
class RealExcerpts:
    """Held-out excerpts `[N, bands, frames]`, a classifier's embedding of them, factored, and band statistics."""

    excerpts: Excerpts
    reference: Factored
    band_mean: NDArray[np.float64]
    band_std: NDArray[np.float64]

    @classmethod
    def draw(cls, data: ExcerptSource, network: Detector, count: int, seed: int) -> "RealExcerpts":
        excerpts, _ = data.random_excerpts(np.random.default_rng(seed), count)
        mean, std = band_moments(excerpts)
        return cls(excerpts, factor_rows(embed(network, excerpts)), mean, std)


@dataclass(frozen=True)
class CheckpointScore:
    """One generator against held-out excerpts: FID, and root mean square differences per band (log units)."""

    update: int
    fid: float
    band_mean_distance: float
    band_std_distance: float


@dataclass(frozen=True)
class GeneratorReport:
    """FIDs over the classifier's layer `layer` to `excerpts` test excerpts.

    Halves: of excerpts of every second recording to those of the others. `warnings` are what makes the figures less
    than they seem.
    """

    layer: str
    excerpts: int
    fid: float
    fid_real_halves: float
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

    `cache` is the folder of the spectrograms of a corpus of recordings; it defaults to one beside the generator.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used.
    """
    judge, judge_meta = load_checkpoint(classifier, *DETECTORS)
    network = cast(Detector, judge)
    module, meta = load_checkpoint(generator, "generator")
    _refuse_own_judge(generator, meta, classifier)
    keep_freed_memory()
    profile = profile_from_dict(meta.features)
    opened = open_excerpts(corpus, profile, cache or spectrograms_of(generator.parent))
    test = opened.open("test")
    for path, own in ((classifier, judge_meta), (generator, meta)):
        require_features(path, own, test.profile, str(corpus))
    progress(0, 4, "test excerpts")
    real = RealExcerpts.draw(test, network, excerpts, seed)
    progress(1, 4, "samples")
    score = score_generator(cast(Generator, module), network, real, seed, int(meta.training.get("updates", 0)))
    rng = np.random.default_rng(seed)
    noise = real.band_mean[:, None] + real.band_std[:, None] * rng.standard_normal(real.excerpts.shape)
    floor = cast(Generator, module).log_floor
    progress(2, 4, "halves of the test")
    recordings = len(test.frame_counts)
    halves = [embed(network, _excerpts_of(test, range(first, recordings, 2), excerpts // 2, seed)) for first in (0, 1)]
    progress(3, 4, "training excerpts and noise")
    training, _ = opened.open("train").random_excerpts(np.random.default_rng(seed), excerpts)
    return GeneratorReport(
        layer=network.layer_names[-2],
        excerpts=excerpts,
        fid=score.fid,
        fid_real_halves=float(frechet_distance(halves[0], factor_rows(halves[1])).distance),
        fid_training=_fid(network, training, real.reference),
        fid_band_noise=_fid(network, np.maximum(noise, floor).astype(np.float32), real.reference),
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

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used; ValueError without checkpoints.
    """
    paths = checkpoints(run_folder)
    if not paths:
        raise ValueError(f"{run_folder}: holds no generator checkpoints; train a generator there first")
    judge, judge_meta = load_checkpoint(classifier, *DETECTORS)
    network = cast(Detector, judge)
    keep_freed_memory()
    opened = open_excerpts(corpus, profile_from_dict(judge_meta.features), cache or spectrograms_of(run_folder))
    valid = opened.open("valid")
    require_features(classifier, judge_meta, valid.profile, str(corpus))
    of = f"{file_sha256(classifier)} {opened.fingerprint} {excerpts} {seed}"
    identity = hashlib.sha256(of.encode()).hexdigest()
    known = _known_scores(run_folder, identity)
    todo = [path for path in paths if path.name not in known]
    real = RealExcerpts.draw(valid, network, excerpts, seed) if todo else None
    for done, path in enumerate(todo, start=1):
        assert real is not None
        module, meta = load_checkpoint(path, "generator")
        _refuse_own_judge(path, meta, classifier)
        require_features(path, meta, valid.profile, str(corpus))
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
    samples = sample(generator, len(real.excerpts), seed)
    mean, std = band_moments(samples)
    return CheckpointScore(
        update=update,
        fid=_fid(network, samples, real.reference),
        band_mean_distance=float(np.sqrt(np.mean((mean - real.band_mean) ** 2))),
        band_std_distance=float(np.sqrt(np.mean((std - real.band_std) ** 2))),
    )


def sample(generator: Generator, count: int, seed: int) -> Excerpts:
    """`count` generated excerpts `[count, bands, frames]`."""
    latents = torch.randn(count, generator.latent_size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return torch.cat([generator(chunk)[:, 0] for chunk in torch.split(latents, BATCH)]).numpy()


def embed(network: Detector, excerpts: Excerpts) -> NDArray[np.float32]:
    """The classifier's last hidden layer `[N, units]` of excerpts `[N, bands, frames]`."""
    with torch.inference_mode():
        chunks = torch.split(torch.from_numpy(excerpts)[:, None], BATCH)
        return torch.cat([network.embed(chunk) for chunk in chunks]).numpy()


def _excerpts_of(data: ExcerptSource, recordings: range, count: int, seed: int) -> Excerpts:
    """`count` excerpts of these recordings alone, drawn uniformly."""
    rng = np.random.default_rng(seed)
    _, length = data.profile.excerpt_shape
    chosen, counts = rng.choice(recordings, count), data.frame_counts
    return np.stack([data.excerpt(each, int(rng.integers(counts[each] - length + 1))) for each in chosen])


def band_moments(excerpts: Excerpts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each band, both `[bands]`."""
    return (
        np.asarray(excerpts.mean(axis=(0, 2), dtype=np.float64)),
        np.asarray(excerpts.std(axis=(0, 2), dtype=np.float64)),
    )


def _fid(network: Detector, excerpts: Excerpts, reference: Factored) -> float:
    return float(frechet_distance(embed(network, excerpts), reference).distance)


def _save_best(source: Path, target: Path, score: CheckpointScore) -> None:
    module, meta = load_checkpoint(source, "generator")
    training = {**meta.training, "score": asdict(score), "checkpoint": source.name}
    chosen = CheckpointMeta(meta.architecture, meta.arguments, meta.features, meta.labels, training)
    save_checkpoint(target, module, chosen)


def _refuse_own_judge(generator: Path, meta: CheckpointMeta, classifier: Path) -> None:
    """Raises: ValueError when the generator, or what it began with, was trained against this classifier's layers."""
    judge = file_sha256(classifier)
    for age, run in enumerate(lineage(meta.training)):
        if run.get("detector", {}).get("sha256") == judge:
            what = f"what {generator} began with" if age else generator
            raise ValueError(
                f"classifier: {classifier} is the detector that {what} was trained against; its distance says little "
                "there, give a classifier from another seed"
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
    partial = run_folder / "fid.json.partial"
    partial.write_text(json.dumps(body, indent=2) + "\n")
    shutil.move(partial, run_folder / "fid.json")
    with (run_folder / "fid.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CheckpointScore)])
        writer.writeheader()
        writer.writerows(asdict(score) for score in sorted(scores.values(), key=lambda score: score.update))
