"""Where the networks of a bundle come from: checkpoints of `earwitness train`, or a user's own modules."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from earwitness.features import FeatureProfile
from earwitness.inference.metadata import OutputKind, ProbabilityKind, UnitLabel
from earwitness.training.checkpoint import DETECTORS, CheckpointError, CheckpointMeta, load_checkpoint
from earwitness.training.export.bundle import ExportedBundle, export_bundle
from earwitness.training.export.card import CardFacts, Comparisons, evaluate_pair
from earwitness.training.export.detector_figures import require_songs_measurable
from earwitness.training.export.errors import SourceError
from earwitness.training.export.layers import LayerSpec
from earwitness.training.export.pair import AS_THEY_ARE
from earwitness.training.export.weights import load_weights
from earwitness.training.export.wrapping import Wraps
from earwitness.training.run_folder import Progress, silent


def export_checkpoints(
    gan_checkpoint: Path,
    detector_checkpoint: Path,
    name: str,
    repository: Path,
    corpus: Path | None = None,
    songs: Path | None = None,
    comparisons: Comparisons | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> ExportedBundle:
    """Exports a trained generator and detector, of singing or of replays, with all of the detector's named layers.

    With a `corpus` of the detector's kind, and real `songs` for one of singing, both are evaluated first and the
    figures go into the model card, beside those of the `comparisons`. `cache` is a folder of a corpus' spectrograms.

    Raises: SourceError when a file is no such checkpoint, or the two were trained on different features;
    CheckpointError, DatasetError, AudioError or InvalidArgument when they cannot be evaluated; and as `export_bundle`.
    """
    try:
        generator, generator_meta = load_checkpoint(gan_checkpoint, "generator")
        classifier, classifier_meta = load_checkpoint(detector_checkpoint, *DETECTORS)
    except CheckpointError as err:
        raise SourceError(str(err)) from err
    if generator_meta.features != classifier_meta.features:
        raise SourceError(
            f"{gan_checkpoint} was trained on features {generator_meta.features.get('name')!r}, {detector_checkpoint} "
            f"on {classifier_meta.features.get('name')!r} or other parameters of it; train both on the same"
        )

    if songs is not None:
        require_songs_measurable(classifier_meta.architecture)

    def facts() -> CardFacts:
        evaluation = None
        if corpus is not None:
            evaluation = evaluate_pair(gan_checkpoint, detector_checkpoint, corpus, songs, comparisons, cache, progress)
        return CardFacts({"classifier": classifier_meta.training, "generator": generator_meta.training}, evaluation)

    return export_bundle(
        generator,
        classifier,
        name=name,
        layers={layer: layer for layer in classifier.layer_names},  # type: ignore[union-attr]
        features=classifier_meta.features,
        labels=[UnitLabel(int(unit), *words) for unit, words in classifier_meta.labels.items()],
        training_data=_training_data(generator_meta, classifier_meta),
        repository=repository,
        facts=facts,
        replace=replace,
    )


def export_from_import_paths(
    generator: str,
    classifier: str,
    *,
    name: str,
    features: FeatureProfile | Mapping[str, Any],
    repository: Path,
    layers: Mapping[str, str] | Sequence[LayerSpec] | None = None,
    labels: Sequence[UnitLabel | str] = (),
    training_data: str = "not recorded",
    latent_size: int | None = None,
    output: OutputKind | None = None,
    probability: ProbabilityKind | None = None,
    wraps: Wraps = AS_THEY_ARE,
    generator_weights: Path | None = None,
    classifier_weights: Path | None = None,
    replace: bool = False,
) -> ExportedBundle:
    """Exports a user's own pair, each given as `package.module:attribute`.

    The attribute is an nn.Module, or something to call without arguments that returns one; the weights, if given, are
    files as `load_weights` reads them.

    Raises: SourceError when a path leads to no network or weights do not fit; and as `export_bundle`.
    """
    return export_bundle(
        load_network(generator, generator_weights),
        load_network(classifier, classifier_weights),
        name=name,
        features=features,
        repository=repository,
        layers=layers,
        labels=labels,
        training_data=training_data,
        latent_size=latent_size,
        output=output,
        probability=probability,
        wraps=wraps,
        replace=replace,
    )


def load_network(import_path: str, weights: Path | None = None) -> nn.Module:
    """The network at `package.module:attribute`, with the state dict in `weights` if given.

    Raises: SourceError.
    """
    module_name, _, attribute = import_path.partition(":")
    if not module_name or not attribute:
        raise SourceError(
            f"{import_path!r}: expected package.module:attribute, such as 'mynets.models:build_generator'"
        )
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as err:
        raise SourceError(f"{import_path!r}: {err}; check the path, and that the package is installed here") from err
    except Exception as err:  # whatever the user's module raises while it is imported
        raise SourceError(f"{import_path!r}: importing it raised {type(err).__name__}: {err}") from err
    if not isinstance(found, nn.Module):
        try:
            found = found()
        except Exception as err:
            raise SourceError(
                f"{import_path!r}: cannot be called without arguments ({type(err).__name__}: {err}); "
                "give a function that builds the network"
            ) from err
    if not isinstance(found, nn.Module):
        raise SourceError(f"{import_path!r}: gave {type(found).__name__}, expected a torch.nn.Module")
    return found if weights is None else load_weights(found, weights)


def _training_data(generator: CheckpointMeta, classifier: CheckpointMeta) -> str:
    """One line for people: the corpora, and their fingerprints."""
    roles: dict[str, list[str]] = {}
    for role, meta in (("classifier", classifier), ("generator", generator)):
        sources = "; ".join(meta.training.get("sources", ())) or "no sources recorded"
        corpus = f"corpus {str(meta.training.get('corpus', 'unknown'))[:12]}: {sources}"
        roles.setdefault(corpus, []).append(role)
    return " / ".join(f"{' and '.join(names)}: {corpus}" for corpus, names in roles.items())
