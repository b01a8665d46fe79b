"""The model card: what a bundle is, what it was trained on and how good it is, for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from earwitness.detection.intervals import Interval
from earwitness.features import profile_from_dict
from earwitness.inference.metadata import BundleMetadata, Role
from earwitness.training.checkpoint import file_sha256, load_checkpoint
from earwitness.training.corpus import open_corpus
from earwitness.training.evaluate import ClassifierReport, Figures, evaluate_classifier
from earwitness.training.evaluate_gan import GeneratorReport, evaluate_generator, sample
from earwitness.training.export.verify import ParityReport
from earwitness.training.intervals import Intervals
from earwitness.training.networks import Generator
from earwitness.training.pictures import beside
from earwitness.training.run_folder import Progress, silent

PICTURED = 16
PICTURE_SEED = 1


@dataclass(frozen=True)
class Evaluation:
    """Figures of both networks on held-out data; excerpts to show, generated and real, both `[N, bands, frames]`.

    `others` are the generator's distances over other detectors, by the words for each. `classifiers` and `generators`
    are networks beside these two, by name: other variants, layouts, ways to train.
    """

    classifier: ClassifierReport
    generator: GeneratorReport
    others: Mapping[str, GeneratorReport]
    generated: NDArray[np.float32]
    real: NDArray[np.float32]
    classifiers: Mapping[str, ClassifierReport] = field(default_factory=dict)
    generators: Mapping[str, GeneratorReport] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparisons:
    """Checkpoints whose figures stand in the card beside the exported pair's.

    `detectors` measure the generator too; `classifiers` and `generators` are measured as the exported ones are, and
    named as their keys say.
    """

    detectors: Sequence[Path] = ()
    classifiers: Mapping[str, Path] = field(default_factory=dict)
    generators: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class CardFacts:
    """What a card tells beyond the bundle's metadata: the training records of both networks, and their evaluation."""

    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: Evaluation | None = None


def evaluate_pair(
    generator: Path,
    classifier: Path,
    corpus: Path,
    songs: Path | None = None,
    comparisons: Comparisons | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluates two checkpoints on a corpus and, apart, on real songs, and the `comparisons`; minutes.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used.
    """
    network = cast(Generator, load_checkpoint(generator, "generator")[0])
    others = comparisons or Comparisons()
    rng = np.random.default_rng(PICTURE_SEED)
    real, _ = open_corpus(corpus).open("valid").random_excerpts(rng, PICTURED)
    return Evaluation(
        classifier=evaluate_classifier(classifier, corpus, songs, progress),
        generator=evaluate_generator(generator, classifier, corpus, progress=progress),
        others={
            _in_words(other, generator): evaluate_generator(generator, other, corpus, progress=progress)
            for other in others.detectors
        },
        generated=sample(network, PICTURED, PICTURE_SEED),
        real=real,
        classifiers={
            name: evaluate_classifier(path, corpus, songs, progress) for name, path in others.classifiers.items()
        },
        generators={
            name: evaluate_generator(path, classifier, corpus, progress=progress)
            for name, path in others.generators.items()
        },
    )


def _in_words(detector: Path, generator: Path) -> str:
    training = load_checkpoint(detector, "svdnet")[1].training
    words = f"a detector trained from seed {training['seed']}, validation AUROC {training['valid_auc']:.3f}"
    runs = _lineage(load_checkpoint(generator, "generator")[1].training)
    judged = any(run.get("detector", {}).get("sha256") == file_sha256(detector) for run in runs)
    return f"{words}, that judged an earlier run of this generator" if judged else words


def card_files(name: str) -> tuple[str, str]:
    """File names of a bundle's card and of its picture, in the repository's top folder."""
    return f"{name.replace('-', '_')}.md", f"{name.replace('-', '_')}.png"


def write_card(
    folder: Path, metadata: BundleMetadata, parity: ParityReport, model_bytes: Mapping[Role, int], facts: CardFacts
) -> None:
    """Writes the card into `folder` and, where there is an evaluation, the picture of 16 beside 16."""
    card, picture = card_files(metadata.name)
    evaluation = facts.evaluation
    if evaluation is not None:
        beside(
            folder / picture, evaluation.generated, evaluation.real, profile_from_dict(metadata.features),
            (f"{PICTURED} samples of the generator", f"{PICTURED} held-out excerpts"),
        )  # fmt: skip
    text = _template().render(
        metadata=metadata,
        parity=parity,
        sizes={metadata.served_name(role): size / 1e6 for role, size in model_bytes.items()},
        lineage={network: _lineage(record) for network, record in facts.training.items()},
        evaluation=evaluation,
        detector_rows=_detector_rows(evaluation.classifier) if evaluation else {},
        variant_rows=_variant_rows(evaluation) if evaluation else {},
        sure=_sure,
        picture=picture,
    )
    (folder / card).write_text(text, encoding="utf-8")


def _lineage(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Training records of a network, the newest first: each run began where the one after it in the list ended."""
    records = [record]
    while "init" in records[-1]:
        records.append(records[-1]["init"]["training"])
    return records


def _detector_rows(report: ClassifierReport) -> dict[str, tuple[Figures, Intervals | None]]:
    """Figures of each part, and their intervals where there are files to resample."""
    sure = report.intervals
    rows: dict[str, tuple[Figures, Intervals | None]] = {
        "test: unseen voices, tracks and songs": (report.test, sure.get("test"))
    }
    for engine, figures in report.engines.items():
        rows[f"test, singing by {engine} only"] = (figures, None)
    for name, figures in report.songs.items():
        rows[f"real song, {name.replace('_', ' ')}"] = (figures, None)
    if report.all_songs is not None:
        rows["all real songs"] = (report.all_songs, sure.get("songs"))
    return rows


def _variant_rows(evaluation: Evaluation) -> dict[str, tuple[Figures, Intervals | None]]:
    """The exported classifier's test set and songs, then those of the ones beside it."""
    rows = {}
    for name, report in {"this one": evaluation.classifier, **evaluation.classifiers}.items():
        rows[f"{name}: test"] = (report.test, report.intervals.get("test"))
        if report.all_songs is not None:
            rows[f"{name}: real songs"] = (report.all_songs, report.intervals.get("songs"))
    return rows if evaluation.classifiers else {}


def _sure(value: float, interval: Interval | None) -> str:
    """A figure and, where it is known, its interval."""
    known = interval is not None and not math.isnan(interval.low)
    return f"{value:.3f} ({interval.low:.3f}–{interval.high:.3f})" if interval and known else f"{value:.3f}"


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("earwitness.training.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown from our own figures
    )
    return environment.get_template("card.md.jinja")
