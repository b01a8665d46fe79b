"""The model card: what a bundle is, what it was trained on and how good it is, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from earwitness.features import profile_from_dict
from earwitness.inference.metadata import BundleMetadata, Role, output_words
from earwitness.training.checkpoint import DETECTORS, lineage, load_checkpoint
from earwitness.training.evaluate_gan import GeneratorReport, evaluate_generator, refuse_own_judge
from earwitness.training.excerpts import open_excerpts
from earwitness.training.export.detector_figures import (
    MEASURES,
    VALIDATION_FIGURES,
    DetectorFigures,
    Material,
)
from earwitness.training.export.verify import ParityReport
from earwitness.training.measured import generated
from earwitness.training.networks import Generator
from earwitness.training.pictures import beside
from earwitness.training.run_folder import Progress, silent
from earwitness.training.train_gan import run_of, spectrograms_of

PICTURED = 16
PICTURE_SEED = 1
CHOSEN_BY = frozenset({"score", *VALIDATION_FIGURES})
"""What the training record of a network holds that was chosen among others: figures of the choice."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of both networks on held-out data; excerpts to show, generated and real, both `[N, bands, frames]`.

    `corpus` tells by name and fingerprint where the data are from.
    `others` are the generator's distances over other detectors, by the words for each; `generators` those of other
    generators, by name: other layouts, other ways to train.
    """

    corpus: str
    classifier: DetectorFigures
    generator: GeneratorReport
    others: Mapping[str, GeneratorReport]
    generated: NDArray[np.float32]
    real: NDArray[np.float32]
    generators: Mapping[str, GeneratorReport] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What makes the figures less than they seem, each once."""
        reports = {"": self.generator, **self.others, **self.generators}
        of_distances = (f"{name}: {each}" if name else each for name, of in reports.items() for each in of.warnings)
        return list(dict.fromkeys((*self.classifier.warnings, *of_distances)))


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
    cache: Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluates two checkpoints on a corpus and, of singing, apart on real songs, and the `comparisons`; minutes.

    `cache` is the folder of the spectrograms of a corpus of recordings; it defaults to the one of the generator's run.

    Raises: CheckpointError, DatasetError or AudioError when an input cannot be used; InvalidArgument when the generator
    was trained against a detector that is to measure it.
    """
    module, meta = load_checkpoint(generator, "generator")
    architecture = load_checkpoint(classifier, *DETECTORS)[1].architecture
    others = comparisons or Comparisons()
    _require_comparable(generator, classifier, architecture, others)
    cache = cache or spectrograms_of(run_of(generator))
    opened = open_excerpts(corpus, profile_from_dict(meta.features), cache, progress)
    rng = np.random.default_rng(PICTURE_SEED)
    real, _ = opened.open("valid").random_excerpts(rng, PICTURED)

    def distances(path: Path, judge: Path) -> GeneratorReport:
        return evaluate_generator(path, judge, corpus, cache=cache, progress=progress)

    return Evaluation(
        corpus=f"{corpus.resolve().name}, fingerprint `{opened.fingerprint[:16]}`",
        classifier=MEASURES[architecture](classifier, others.classifiers, Material(corpus, songs, cache), progress),
        generator=distances(generator, classifier),
        others={_in_words(other): distances(generator, other) for other in others.detectors},
        generated=np.concatenate(list(generated(cast(Generator, module), PICTURED, PICTURE_SEED))),
        real=real,
        generators={name: distances(path, classifier) for name, path in others.generators.items()},
    )


def _require_comparable(generator: Path, classifier: Path, architecture: str, others: Comparisons) -> None:
    """What takes minutes to come to is refused at once. Raises: as `evaluate_pair`."""
    for path in others.classifiers.values():
        load_checkpoint(path, architecture)
    for judge in (classifier, *others.detectors):
        load_checkpoint(judge, *DETECTORS)
        refuse_own_judge(generator, judge)
    for path in others.generators.values():
        refuse_own_judge(path, classifier)


def _in_words(detector: Path) -> str:
    meta = load_checkpoint(detector, *DETECTORS)[1]
    words = f"{meta.arguments.get('network', 'a detector')} trained from seed {meta.training['seed']}"
    return words + "".join(f", {each}" for each in _validation(meta.training))


def _validation(training: Mapping[str, Any]) -> list[str]:
    """A detector's figures on the split that it was chosen by, such as `validation AUROC 0.912`."""
    return [f"{words} {training[name]:.3f}" for name, words in VALIDATION_FIGURES.items() if name in training]


def _chosen(training: Mapping[str, Any]) -> str:
    """That a network is the best of its run, where it was chosen: detectors always are, generators on request."""
    return "best of its checkpoints " if CHOSEN_BY & training.keys() else ""


def _halves(report: GeneratorReport) -> str:
    """Distance of one half of the test recordings to the other."""
    return "undefined: one recording" if report.fid_real_halves is None else f"{report.fid_real_halves:.3g}"


def _kind(training: Mapping[str, Any]) -> str:
    """Which of several networks was trained, where there were several to choose from: `pindrop, `."""
    return f"{network}, " if (network := training["config"].get("network")) else ""


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
        output_words=output_words(metadata.output_kind, metadata.probability, metadata.output_layer.unit_count),
        parity=parity,
        sizes={metadata.served_name(role): size / 1e6 for role, size in model_bytes.items()},
        lineage={network: lineage(record) for network, record in facts.training.items()},
        evaluation=evaluation,
        validation=_validation,
        kind=_kind,
        chosen=_chosen,
        halves=_halves,
        generator_chosen=bool(_chosen(facts.training.get("generator", {}))),
        picture=picture,
    )
    (folder / card).write_text(text, encoding="utf-8")


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
