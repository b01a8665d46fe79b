"""`earwitness export`: trained networks become served models."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import repository_folder
from earwitness.cli.described import features_of, labels_of, named
from earwitness.cli.export_files import Asked, export_files, is_of_files, print_exported
from earwitness.cli.extra import extra
from earwitness.cli.options import InputAxes, InputOffset, InputScale, Json, ModelRepository, OutputTensor
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.training.export import ExportedBundle
    from earwitness.training.export.files import ExportedFile

CARD = "Figures in the model card (checkpoints of `earwitness train`)"
OWN = "A pair of your own (import paths)"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    name: Annotated[str, typer.Argument(help="Name of the model, e.g. svd-r1.")],
    generator: Annotated[
        str,
        typer.Option(
            "--generator",
            "-g",
            help="Checkpoint of `train gan`, package.module:attribute, a file, or a model whose generator to use.",
        ),
    ],
    classifier: Annotated[
        str,
        typer.Option(
            "--classifier",
            "-c",
            help="Checkpoint of `train svd` or `train replay`, package.module:attribute, or a file: ONNX, TorchScript, "
            "torch.export.",
        ),
    ],
    model_repository: ModelRepository = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate both on this corpus, of singing or of replays; takes minutes.", rich_help_panel=CARD
        ),
    ] = None,
    songs: Annotated[
        Path | None, typer.Option(help="And on real songs, in a layout of `earwitness data`.", rich_help_panel=CARD)
    ] = None,
    other_detector: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint of another detector, from another seed: the generator's distance over it too.",
            rich_help_panel=CARD,
        ),
    ] = None,
    compare_classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Checkpoint of a detector trained in another way: its figures beside these.",
            rich_help_panel=CARD,
        ),
    ] = None,
    compare_generator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Checkpoint of a generator trained in another way: its distance beside this one's.",
            rich_help_panel=CARD,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the corpus' spectrograms. Default: in the generator's run.", rich_help_panel=CARD),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="NAME=PATH",
            rich_help_panel=OWN,
            help="Layer, and its module. Default: every convolution, recurrent and dense layer.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Feature profile: a name, log-mel-80@1, or a JSON file.", rich_help_panel=OWN),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="UNIT=HIGH[/LOW]", help="Words for an output unit: 0=vocal/other.", rich_help_panel=OWN),
    ] = None,
    training_data: Annotated[
        str | None, typer.Option(help="What it was trained on, in words.", rich_help_panel=OWN)
    ] = None,
    latent_size: Annotated[
        int | None, typer.Option(min=1, help="Default: what the generator says.", rich_help_panel=OWN)
    ] = None,
    output: Annotated[
        Literal["logit", "probability"] | None,
        typer.Option(
            metavar="KIND",
            rich_help_panel=OWN,
            help="What the classifier returns is explained as: logit or probability. Default: the logits, also those "
            "before a softmax or sigmoid at its end; probabilities where there are none.",
        ),
    ] = None,
    probability: Annotated[
        Literal["softmax", "sigmoid", "none"] | None,
        typer.Option(
            metavar="KIND",
            rich_help_panel=OWN,
            help="What makes probabilities of logits: softmax, sigmoid or none; sigmoid also for several outputs of "
            "which more than one may be true (multi-label), none for scores. Default: as at the classifier's end; else "
            "softmax, sigmoid of one.",
        ),
    ] = None,
    take: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            rich_help_panel=OWN,
            help="Which of the classifier's results, by index, key or attribute: 0, logits. Default: the one it has.",
        ),
    ] = None,
    generator_take: Annotated[
        str | None,
        typer.Option(metavar="KEY", rich_help_panel=OWN, help="Which of the generator's results is the spectrogram."),
    ] = None,
    swap_axes: Annotated[
        Literal["generator", "classifier", "both"] | None,
        typer.Option(
            metavar="WHOSE",
            rich_help_panel=OWN,
            help="Whose spectrograms are frames × bands: generator, classifier or both. Default: nobody's.",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, rich_help_panel=OWN, help="Channels in which the classifier gets the spectrogram. Default: 1."
        ),
    ] = None,
    generator_weights: Annotated[
        Path | None, typer.Option(help="Its weights: torch.save(state_dict).", rich_help_panel=OWN)
    ] = None,
    classifier_weights: Annotated[
        Path | None, typer.Option(help="Its weights: torch.save(state_dict).", rich_help_panel=OWN)
    ] = None,
    input_axes: InputAxes = None,
    input_offset: InputOffset = 0.0,
    input_scale: InputScale = 1.0,
    output_tensor: OutputTensor = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model of that name that has other weights.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Export a generator and a classifier as the three served models of a bundle, gradients included.

    Everything is held against torch before it is written: outputs, gradients, finite differences. Beside the models a
    model card is written; --corpus adds measured figures and a picture to it. A model of that name is replaced when its
    weights are the same, or with --force. Needs the extra `train`.

    A network of your own is an nn.Module, or a function without arguments that returns one; an operator that cannot be
    served is named with its layer. The features say how its spectrograms are made of sound, in JSON: {"kind": "mel",
    "name": "birds@1", "sample_rate_hz": 16000, "frame_length": 512, "hop_length": 160, "band_count": 64,
    "excerpt_frames": 96} and more, see `earwitness.features.MelProfile`.

    A classifier may be a file too: ONNX of opset 7 or newer, TorchScript, or a program of torch.export. It is exported
    with its gradient where each of its operations has a rule; else without, which is said, and explained by a walk or
    by draws. Its generator may be a file, or that of another model in the repository.

    [bold]Examples[/bold]

      earwitness export singing --generator runs/gan/best.pt --classifier runs/svd-r1/best.pt

      earwitness export birds -g birds:Generator --generator-weights generator.pt -c birds:Detector
      --classifier-weights detector.pt --features birds.json --label 0=silence --label 1=call

      earwitness export keras-birds -g birds -c birds.onnx --label 0=silence --label 1=call
    """
    repository = model_repository or repository_folder(None)
    with extra("train"), console.progress("exporting") as update:
        from earwitness.training.export import (
            Comparisons,
            ExportedBundle,
            Wraps,
            export_checkpoints,
            export_from_import_paths,
        )

        exported: ExportedBundle | ExportedFile

        own = [":" in source and not Path(source).exists() for source in (generator, classifier)]
        if songs is not None and corpus is None:
            raise InvalidArgument("songs", "needs --corpus: the threshold is chosen on its validation split")
        card_only = {
            "other_detector": other_detector,
            "compare_classifier": compare_classifier,
            "compare_generator": compare_generator,
            "cache": cache,
        }
        if corpus is None and (wanting := [option for option, given in card_only.items() if given]):
            raise InvalidArgument(wanting[0], "needs --corpus: it is for figures on one")
        heads = {
            "output": output,
            "probability": probability,
            "take": take,
            "generator_take": generator_take,
            "swap_axes": swap_axes,
            "channels": channels,
        }
        files = is_of_files(generator, classifier, repository)
        if (files or any(own)) and corpus is not None:
            raise InvalidArgument("corpus", "evaluates checkpoints of `earwitness train` only; leave it out")
        if files:
            exported = export_files(
                Asked(
                    name=name,
                    generator=generator,
                    classifier=classifier,
                    repository=repository,
                    features=None if features is None else features_of(features),
                    layers=named("layer", layer, "NAME=PATH") if layer else None,
                    labels=labels_of(label or ()),
                    training_data=training_data or "not recorded",
                    latent_size=latent_size,
                    generator_weights=generator_weights,
                    classifier_weights=classifier_weights,
                    input_axes=input_axes,
                    input_offset=input_offset,
                    input_scale=input_scale,
                    output_tensor=output_tensor,
                    heads=heads,
                    force=force,
                )
            )
        elif all(own):
            if features is None:
                raise InvalidArgument("features", "is needed for networks of your own: log-mel-80@1, or a JSON file")
            sys.path.insert(0, str(Path.cwd()))  # where people keep the module they name
            exported = export_from_import_paths(
                generator,
                classifier,
                name=name,
                layers=named("layer", layer, "NAME=PATH") if layer else None,
                features=features_of(features),
                labels=labels_of(label or ()),
                training_data=training_data or "not recorded",
                repository=repository,
                latent_size=latent_size,
                output=output,
                probability=probability,
                wraps=Wraps(take, generator_take, swap_axes, channels or 1),
                generator_weights=generator_weights,
                classifier_weights=classifier_weights,
                replace=force,
            )
        elif any(own):
            raise InvalidArgument("generator", "give checkpoints for both networks, or import paths for both")
        elif ignored := [
            option
            for option, given in {
                "layer": layer,
                "features": features,
                "label": label,
                "training_data": training_data,
                "latent_size": latent_size,
                **heads,
                "generator_weights": generator_weights,
                "classifier_weights": classifier_weights,
            }.items()
            if given is not None
        ]:
            raise InvalidArgument(ignored[0], "is for networks of your own; checkpoints say it themselves")
        else:
            exported = export_checkpoints(
                Path(generator),
                Path(classifier),
                name,
                repository,
                corpus,
                songs,
                Comparisons(
                    other_detector or (),
                    _checkpoints("compare_classifier", compare_classifier or ()),
                    _checkpoints("compare_generator", compare_generator or ()),
                ),
                cache,
                lambda *event: update(*event),
                replace=force,
            )
    if json_output:
        console.print_json({"model_repository": repository, **asdict(exported)})
    elif isinstance(exported, ExportedBundle):
        _print(exported, repository)
    else:
        print_exported(exported, repository)


def _print(exported: "ExportedBundle", repository: Path) -> None:
    from earwitness.inference.metadata import output_words

    metadata, parity = exported.metadata, exported.parity
    sizes = [f"{metadata.served_name(role)} {size / 1e6:.1f} MB" for role, size in exported.model_bytes.items()]
    console.show(f"{metadata.name}: {', '.join(sizes)}, in {repository}")
    words = output_words(metadata.output_kind, metadata.probability, metadata.output_layer.unit_count)
    layers = ", ".join(f"{layer.name} ({layer.unit_count})" for layer in metadata.layers)
    console.show(f"output: a unit of {metadata.output_layer.name} is a {words}")
    console.show(f"layers: {layers}; weights {metadata.weights_sha256[:16]}")
    errors = {name.replace("_", " "): value for name, value in asdict(parity).items() if isinstance(value, float)}
    rows = [[name, f"{value:.2g}"] for name, value in errors.items()]
    console.print_table(f"worst relative errors at batches {parity.batches}", ["against torch", "error#"], rows)


def _checkpoints(option: str, given: Sequence[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in named(option, given, "NAME=FILE").items()}
