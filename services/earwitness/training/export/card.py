"""The model card: what a bundle is, what it was trained on and how good it is, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from earwitness.features import profile_from_dict
from earwitness.inference.metadata import BundleMetadata, Role
from earwitness.training.checkpoint import load_checkpoint
from earwitness.training.corpus import open_corpus
from earwitness.training.evaluate import ClassifierReport, evaluate_classifier
from earwitness.training.evaluate_gan import GeneratorReport, evaluate_generator, sample
from earwitness.training.export.verify import ParityReport
from earwitness.training.networks import Generator
from earwitness.training.pictures import beside
from earwitness.training.run_folder import Progress, silent

PICTURED = 16
PICTURE_SEED = 1


@dataclass(frozen=True)
class Evaluation:
    """Figures of both networks on held-out data; excerpts to show, generated and real, both `[N, bands, frames]`.

    `others` are the generator's distances over other detectors, by the words for each.
    """

    classifier: ClassifierReport
    generator: GeneratorReport
    others: Mapping[str, GeneratorReport]
    generated: NDArray[np.float32]
    real: NDArray[np.float32]


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
    others: Sequence[Path] = (),
    progress: Progress = silent,
) -> Evaluation:
    """Evaluates two checkpoints on a corpus and, apart, on real songs, and the generator over `others` too; minutes.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used.
    """
    network = cast(Generator, load_checkpoint(generator, "generator")[0])
    rng = np.random.default_rng(PICTURE_SEED)
    real, _ = open_corpus(corpus).open("valid").random_excerpts(rng, PICTURED)
    return Evaluation(
        classifier=evaluate_classifier(classifier, corpus, songs, progress),
        generator=evaluate_generator(generator, classifier, corpus, progress=progress),
        others={_in_words(other): evaluate_generator(generator, other, corpus, progress=progress) for other in others},
        generated=sample(network, PICTURED, PICTURE_SEED),
        real=real,
    )


def _in_words(detector: Path) -> str:
    training = load_checkpoint(detector, "svdnet")[1].training
    return f"a detector trained from seed {training['seed']}, validation AUROC {training['valid_auc']:.3f}"


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
        picture=picture,
    )
    (folder / card).write_text(text, encoding="utf-8")


def _lineage(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Training records of a network, the newest first: each run began where the one after it in the list ended."""
    records = [record]
    while "init" in records[-1]:
        records.append(records[-1]["init"]["training"])
    return records


def _detector_rows(report: ClassifierReport) -> dict[str, Any]:
    rows = {"test: unseen voices, tracks and songs": report.test}
    rows |= {f"test, singing by {engine} only": figures for engine, figures in report.engines.items()}
    rows |= {f"real song, {name.replace('_', ' ')}": figures for name, figures in report.songs.items()}
    return rows | ({"all real songs": report.all_songs} if report.all_songs else {})


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
