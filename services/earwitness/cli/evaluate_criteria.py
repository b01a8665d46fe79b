"""`earwitness evaluate criteria`: which criterion should choose the settings of a search."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend
from earwitness.cli.extra import extra
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Data, Explainer, Json, Strict, Triton
from earwitness.cli.sweep_places import SweepPlaces

if TYPE_CHECKING:
    from earwitness.client.sweep_sources import SweepSource
    from earwitness.evidence.criteria.measure import Limits
    from earwitness.evidence.criteria.values import Choice, CriteriaEvidence
    from earwitness.inference.backend import InferenceBackend

logger = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(criteria)


def criteria(
    context: typer.Context,
    sweeps: Annotated[
        list[str],
        typer.Argument(
            help="Finished sweeps, folders or ids: for each model two opposite objectives, in one sweep or two."
        ),
    ],
    recordings: Annotated[
        list[Path],
        typer.Option("--recordings", "-r", help="Real audio, files or folders: references are built from it."),
    ],
    strict: Strict = False,
    row_count: Annotated[
        int, typer.Option("--rows", min=2, help="Explanations of each setting that are judged: the first ones.")
    ] = 24,
    real_count: Annotated[
        int, typer.Option("--top", min=2, help="Real excerpts that a reference keeps: the most activating.")
    ] = 50,
    judging_count: Annotated[
        int, typer.Option("--real", min=2, help="Non-overlapping real excerpts for kernel distances.")
    ] = 60,
    split_count: Annotated[
        int,
        typer.Option(
            "--splits",
            min=0,
            help="Splits in which two fifths of the recordings only judge, the rest only build references.",
        ),
    ] = 3,
    explainer: Explainer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Instead of Triton: run the models in this process, from this folder.")
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Compare ranking criteria by the settings that they choose. Needs the extra `evidence`.

    Every criterion that suits the model ranks the settings of two opposite objectives and chooses one for each, once
    regardless of activations and once within the range of real ones. The choice is then judged: can independent voice
    detectors tell the two apart, how far are they from real audio by a kernel distance, and how far is the choice from
    the Pareto front of both (regret; 0 is on the front). The last column has the mean regret with references that were
    built without the recordings used for the distances.

    Every setting is judged, which takes some 10 minutes on one core for two sweeps of 27 settings. For models without
    an output labelled `vocal`, only distances count.

    [bold]Examples[/bold]

      earwitness evaluate criteria out/svd-r1-maximise out/svd-r1-minimise -r songs --model-repository model_repository

      earwitness evaluate criteria s20270101-101500-a1b2c3 --recordings songs --rows 12 --json > criteria.json
    """
    with extra("evidence"):
        from earwitness.client.references import find_recordings
        from earwitness.evidence.criteria.measure import Limits

        flaws = Flaws()
        found = find_recordings(recordings, flaws, strict=strict)
        places = SweepPlaces(context.obj, explainer, None, triton, model_repository, data)
        with console.progress("listening") as update:
            backend = inference_backend(triton, model_repository, data)
            limits = Limits(real_count, judging_count, split_count)
            evidence = asyncio.run(_compare(places, backend, sweeps, found, flaws, row_count, limits, update))
    if json_output:
        console.print_json(
            {
                "recordings": [each.name for each in found],
                "models": [each.to_dict() for each in evidence],
                "flaws": flaws.document(),
            }
        )
        return
    for each in evidence:
        _print(each)


async def _compare(
    places: SweepPlaces,
    backend: "InferenceBackend",
    sweeps: Sequence[str],
    recordings: Sequence[Path],
    flaws: Flaws,
    row_count: int,
    limits: "Limits",
    update: console.Update,
) -> "list[CriteriaEvidence]":
    """For every model; what cannot be compared is reported before the first sound is made."""
    from earwitness.client.references import bundle_of
    from earwitness.client.sweep_sources import profile_of
    from earwitness.evidence.criteria.gather import Ears, asked_of, real_audio, swept_senses
    from earwitness.evidence.criteria.measure import measure, pair_of, splits_of
    from earwitness.evidence.judges import open_judges
    from earwitness.evidence.measure import tells_voices

    splits_of(len(recordings), limits.split_count)
    judges = open_judges()
    found = []
    try:
        async with AsyncExitStack() as opened:
            by_model: dict[str, list[SweepSource]] = {}
            for each in sweeps:
                source = await places.source(each, opened, backend, references=False)
                by_model.setdefault(source.sweep.model, []).append(source)
            for sources in by_model.values():
                pair_of([one for source in sources for one in await asked_of(backend, source)])
            for name, sources in by_model.items():
                model, layers = sources[0].model, (await bundle_of(backend, name)).layers
                ears = Ears(judges, profile_of(model), voices=tells_voices(model))
                real = await real_audio(backend, name, recordings, flaws, update)
                senses = []
                for source in sources:
                    senses += await swept_senses(backend, source, ears, row_count, update)
                found.append(await measure(pair_of(senses), real, layers, ears, limits, update))
                logger.info("compared criteria on %s", name)
    finally:
        await backend.close()
    return found


def _print(evidence: "CriteriaEvidence") -> None:
    from earwitness.client.criteria import criterion_name, default_criterion

    judges = list(evidence.whole.choices[0].auc)
    words = [each or str(objective) for each, objective in zip(evidence.meanings, evidence.objectives, strict=True)]
    columns = ["criterion", "range", *words, *(f"{name}#" for name in judges)]
    columns += [f"kernel, {each}#" for each in words] + ["regret#", "held out#"]
    rows = [_row(evidence, each) for each in evidence.whole.choices]
    console.print_table(f"what criteria choose, {evidence.model.name}", columns, rows)
    default = criterion_name(default_criterion(evidence.model.layers))
    console.show(f"For a model of these layers: --criterion {default}")


def _row(evidence: "CriteriaEvidence", choice: "Choice") -> list[str]:
    from earwitness.client.output.words import settings_line

    held_out = evidence.held_out_regret(choice.criterion, within_range=choice.within_range)
    return [
        choice.criterion,
        "within" if choice.within_range else "any",
        *map(settings_line, choice.settings),
        *(f"{each:.3f}" for each in choice.auc.values()),
        *(f"{each:.3f}" for each in choice.kernel),
        f"{choice.regret:.2f}",
        "" if held_out is None else f"{held_out:.2f}",
    ]
