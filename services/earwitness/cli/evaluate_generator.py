"""`earwitness evaluate generator`: how like real audio the samples of a checkpoint or of a served model are."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend
from earwitness.cli.extra import extra
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Data, Json, Strict, Triton
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.evidence.generator import GeneratorReport

CHECKPOINT, SERVED = "Of a checkpoint", "Of a served model"
PrintReport = Callable[[str, Mapping[str, Any], bool], None]
MEANING = {
    "good": "good enough to explain with",
    "usable": "fit to explain with, with care: explanations are no better than its sounds",
    "poor": "not fit to explain with",
}


def register(app: typer.Typer, print_report: PrintReport, warn: Callable[[Any], None]) -> None:
    """Add the command; `print_report` and `warn` show a checkpoint's figures."""

    @app.command()
    def generator(
        name: Annotated[
            str,
            typer.Argument(
                metavar="MODEL|CHECKPOINT", help="A served model, or a checkpoint of `earwitness train gan`."
            ),
        ],
        recordings: Annotated[
            list[Path] | None,
            typer.Option("--recordings", "-r", help="Real audio, files or folders.", rich_help_panel=SERVED),
        ] = None,
        layer: Annotated[
            str | None, typer.Option("--layer", "-l", help="Default: the last hidden one.", rich_help_panel=SERVED)
        ] = None,
        picture: Annotated[
            Path | None, typer.Option(help="PNG to write: samples beside real excerpts.", rich_help_panel=SERVED)
        ] = None,
        classifier: Annotated[
            Path | None, typer.Option("--classifier", help="Checkpoint of the detector.", rich_help_panel=CHECKPOINT)
        ] = None,
        corpus: Annotated[
            Path | None,
            typer.Option("--corpus", "-c", help="The corpus that it was trained on.", rich_help_panel=CHECKPOINT),
        ] = None,
        cache: Annotated[
            Path | None,
            typer.Option(help="Folder of recordings' spectrograms. Default: in the run's.", rich_help_panel=CHECKPOINT),
        ] = None,
        excerpts: Annotated[
            int | None,
            typer.Option(
                min=1,
                help="Excerpts on each side of a distance, best above twice the units of the last hidden layer. "
                "Default: 2000 of a checkpoint, at most 500 of a served model.",
            ),
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Seed of excerpts and samples.")] = 1,
        strict: Strict = False,
        triton: Triton = None,
        model_repository: Annotated[
            Path | None, typer.Option(help="Instead of Triton: run the models in this process, from this folder.")
        ] = None,
        data: Data = None,
        json_output: Json = False,
    ) -> None:
        """How like real audio a generator's samples are, beside other real audio and noise: Fréchet distances.

        Of a served model, anybody's, nothing but it and recordings is needed: samples, excerpts of one half of the
        recordings and noise are compared with the other half over a hidden layer of its classifier. Coverage is the
        share of real excerpts that have a sample as near as their third real neighbour. Beside the figures stands
        whether that is good enough to explain with, or what to do. Of a checkpoint it needs the extra `train`.

        [bold]Examples[/bold]

          earwitness evaluate generator svd-r1 --recordings songs --picture samples.png

          earwitness evaluate generator runs/gan/best.pt --classifier runs/svd-r1/best.pt --corpus corpus
        """
        if recordings:
            if classifier or corpus:
                raise InvalidArgument(
                    "recordings", "are for a served model, --classifier and --corpus for a checkpoint"
                )
            flaws = Flaws()
            report = _served(
                name, recordings, layer, excerpts or 500, seed, picture, flaws, strict, triton, model_repository, data
            )
            _print(report, picture, json_output, flaws)
            return
        if classifier is None or corpus is None:
            raise InvalidArgument(
                "recordings", "is needed of a served model; of a checkpoint --classifier and --corpus are"
            )
        with extra("train"):
            from earwitness.training.evaluate_gan import evaluate_generator

            with console.progress("evaluating") as update:
                found = evaluate_generator(
                    Path(name), classifier, corpus, excerpts or 2000, seed, cache, lambda *event: update(*event)
                )
        print_report(f"Fréchet distances over {found.layer}", found.to_dict(), json_output)
        warn(found.warnings)


def _served(
    model: str,
    recordings: list[Path],
    layer: str | None,
    count: int,
    seed: int,
    picture: Path | None,
    flaws: Flaws,
    strict: bool,
    triton: str | None,
    model_repository: Path | None,
    data: Path | None,
) -> "GeneratorReport":
    from earwitness.client.references import find_recordings
    from earwitness.evidence.generator import check_generator
    from earwitness.evidence.samples import draw_samples

    if picture is not None and not picture.parent.is_dir():
        raise InvalidArgument("picture", f"there is no folder {picture.parent}")
    found = find_recordings(recordings, flaws, strict=strict)
    backend = inference_backend(triton, model_repository, data)

    async def check() -> "GeneratorReport":
        try:
            with console.progress("evaluating") as update:
                return await check_generator(
                    backend, model, found, layer=layer, count=count, seed=seed, on_flaw=flaws, on_progress=update
                )
        finally:
            await backend.close()

    report = asyncio.run(check())
    if picture is not None:
        draw_samples(picture, report)
    return report


def _print(report: "GeneratorReport", picture: Path | None, json_output: bool, flaws: Flaws) -> None:
    rows = {"other real audio": report.real, "samples": report.samples, "noise": report.noise}
    if json_output:
        figures = {name.replace(" ", "_"): asdict(each) for name, each in rows.items()}
        counts = {
            name: getattr(report, name) for name in ("recording_count", "excerpt_count", "row_count", "diversity")
        }
        head = {"model": report.model, "layer": report.layer, "verdict": report.verdict, "share": report.share}
        console.print_json({**head, **counts, **figures, "picture": picture, "flaws": flaws.document()})
        return
    console.print_table(
        f"{report.model}: {report.row_count} rows each, over {report.layer}, to real audio of {report.recording_count} "
        "recordings",
        ["", "Fréchet distance#", "coverage#"],
        [[name, f"{each.distance:.3g}", f"{each.coverage:.0%}"] for name, each in rows.items()],
    )
    console.show(f"{MEANING[report.verdict]}: {report.share:.0%} of the way from real audio to noise")
    for advice in report.advice:
        console.show(advice)
    if picture is not None:
        console.show(f"samples beside real excerpts: {picture}")
