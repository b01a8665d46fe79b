"""`earwitness evaluate explanations`: independent judges of sweeps, or of two folders of explanations."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend
from earwitness.cli.extra import extra
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Data, Explainer, Force, Json, Strict, Triton
from earwitness.cli.sweep_places import SweepPlaces, holds_archive, is_folder
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.evidence.judges import Contrast, Opinion
    from earwitness.evidence.values import Evidence, Gathered
    from earwitness.inference.backend import InferenceBackend

logger = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explanations)


def explanations(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Finished sweeps: ids (`earwitness sweeps list`), or folders that they were saved to. Or two output "
            "folders of `explain`."
        ),
    ],
    recordings: Annotated[
        list[Path] | None,
        typer.Option("--recordings", "-r", help="Real audio beside sweeps, files or folders of them."),
    ] = None,
    strict: Strict = False,
    real_count: Annotated[
        int | None,
        typer.Option("--real", min=4, help="Real excerpts beside each objective. Default: two for each seed."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write: page, table, figures.")] = None,
    example_count: Annotated[
        int, typer.Option("--examples", min=1, help="Sounds on the page of each setting and of real audio.")
    ] = 3,
    force: Force = False,
    explainer: Explainer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Instead of Triton: run the models in this process, from this folder.")
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Let judges that chose nothing say what explanations are worth. Needs the extra `evidence`.

    Of every objective of the sweeps: all explanations of the chosen, the median and the worst setting, judged by two
    voice detectors that nobody here trained, by a kernel distance to the real excerpts that activate the objective
    most, and by how much they differ; whether a judge can tell opposite objectives apart; and whether the published
    shape of the grid is reproduced. Sweeps must be ranked. The judges listen for voices in music: of a model without an
    output labelled `vocal`, such as one of replayed speech, they are not asked, and all the rest is measured.

    A sweep that was saved to a folder needs no explainer, which may have forgotten it: its sounds are made again by the
    generator that Triton, or --model-repository, serves with the very weights that were swept.

    Given two folders of explanations instead, the judges say which of the two is more vocal.

    [bold]Examples[/bold]

      earwitness evaluate explanations s20270101-101500-a1b2c3 s20270101-111500-d4e5f6 --recordings songs --out evidence

      earwitness evaluate explanations out/vocal out/non-vocal --recordings songs --model-repository model_repository

      earwitness evaluate explanations out/demo/maximise out/demo/minimise
    """
    folders = [Path(each) for each in sources if is_folder(each)]
    with extra("evidence"):
        if not all(map(holds_archive, folders)):
            _judge(_two_folders(folders, sources), recordings, out, json_output)
            return
        if not recordings:
            raise InvalidArgument("recordings", "give --recordings: real audio that sweeps are compared with")
        from earwitness.client.output import check_free
        from earwitness.client.references import find_recordings
        from earwitness.evidence.judges import open_judges
        from earwitness.evidence.measure import Listener, conclude
        from earwitness.evidence.report import EVIDENCE_MARKS, evidence_document, write_evidence

        if out is not None:
            check_free(out, force=force, marks=EVIDENCE_MARKS)
        flaws = Flaws()
        found = find_recordings(recordings, flaws, strict=strict)
        listener = Listener(open_judges())  # a missing package is told before the work begins
        places = SweepPlaces(context.obj, explainer, None, triton, model_repository, data)
        with console.progress("gathering") as update:
            backend = inference_backend(triton, model_repository, data)
            gathered = asyncio.run(_gather(places, backend, sources, found, flaws, real_count, example_count, update))
            objectives = []
            for each in gathered:
                objectives.append(listener.measure(each, update))
                logger.info("judged %s", each.title)
        evidence = conclude(listener, objectives, found)
        if out is not None:
            write_evidence(out, evidence, example_count=example_count, force=force)
    if json_output:
        console.print_json({**evidence_document(evidence), "out": out and out.absolute(), "flaws": flaws.document()})
        return
    _print_evidence(evidence)
    if out is not None:
        console.show_page(out)


async def _gather(
    places: SweepPlaces,
    backend: "InferenceBackend",
    sweeps: Sequence[str],
    recordings: Sequence[Path],
    flaws: Flaws,
    real_count: int | None,
    example_count: int,
    update: console.Update,
) -> "list[Gathered]":
    """All objectives of the sweeps; every one is checked before the first is gathered."""
    from earwitness.evidence.gather import choose, gather

    found = []
    try:
        async with AsyncExitStack() as opened:
            sources = [await places.source(each, opened, backend, references=False) for each in sweeps]
            for each in await choose(sources, backend):
                gathered = await gather(
                    backend,
                    each,
                    recordings,
                    example_count=example_count,
                    real_count=real_count,
                    on_progress=update,
                    on_flaw=flaws,
                )
                logger.info("gathered %s and %d real excerpts", gathered.title, len(gathered.excerpts))
                found.append(gathered)
    finally:
        await backend.close()
    return found


def _backend_of(folder: Path) -> str:
    """What computed the explanations in `folder`. Raises: InvalidArgument for a sweep.json that says nothing of it."""
    path = folder / "sweep.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["summary"]["backend"])
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidArgument("sources", f"{path} is not what `earwitness sweep --out` writes ({err!r})") from err


def _two_folders(folders: Sequence[Path], sources: Sequence[str]) -> tuple[Path, Path]:
    """Raises: InvalidArgument for anything else than two folders of explanations."""
    for folder in folders:
        if holds_archive(folder):
            raise InvalidArgument("sources", f"{folder} holds a sweep, others do not; give sweeps alone")
        if (folder / "sweep.json").is_file():
            backend = _backend_of(folder)
            whole = "give its id, the explainer has all of them"
            if holds_archive(folder.absolute().parent):
                whole = f"give {folder.parent}, which holds all of them"
            raise InvalidArgument("sources", f"{folder} holds a few explanations of a {backend}; {whole}")
    if len(folders) != 2 or len(sources) != 2:
        raise InvalidArgument("sources", f"got {len(sources)}; give ids of sweeps, or two folders of explanations")
    return folders[0], folders[1]


def _judge(folders: tuple[Path, Path], recordings: list[Path] | None, out: Path | None, json_output: bool) -> None:
    """The judges' word on two folders."""
    from earwitness.evidence.judges import judge_folders

    if recordings or out:
        raise InvalidArgument("recordings" if recordings else "out", "is for sweeps; two folders are judged without it")
    with console.progress("listening") as update:
        found = judge_folders(*folders, lambda done, count: update(done, count, ""))
    if json_output:
        console.print_json({"high": folders[0], "low": folders[1], "judges": [each.to_dict() for each in found]})
        return
    _print_opinions(folders, found)


def _print_opinions(folders: tuple[Path, Path], found: "Sequence[Contrast]") -> None:
    rows = [
        [
            each.judge,
            *_opinion(each.high.median, each.high.vocal_share),
            *_opinion(each.low.median, each.low.vocal_share),
            _auc(each),
        ]
        for each in found
    ]
    columns = ["judge", *(f"{name}, {what}#" for name in folders for what in ("median", "with a voice")), "AUC#"]
    console.print_table("how probably each judge hears a voice", columns, rows)


def _print_evidence(evidence: "Evidence") -> None:
    """The tables, and what the numbers say of the published shape."""
    from earwitness.client.output.words import number, settings_line
    from earwitness.evidence.values import REAL

    names = evidence.judges
    columns = ["", "setting", "FID#", "activation#", *(f"{name}#" for name in names), "kernel distance#"]
    for each in evidence.objectives:
        rows = []
        for row in each.settings:
            score, kernel = row.ranked.score, row.kernel
            rows.append(
                [
                    row.place,
                    settings_line(row.settings),
                    f"{number(score.distance)} [{number(score.interval_low)}, {number(score.interval_high)}]",
                    number(row.activation_median),
                    *_opinions(names, row.opinions),
                    f"{number(kernel.distance)} [{number(kernel.interval_low)}, {number(kernel.interval_high)}], "
                    f"real < {number(kernel.noise_floor_high)}",
                    number(row.diversity.ratio),
                    f"{row.diversity.near_duplicate_count} of {row.diversity.row_count}",
                ]
            )
        real = each.real
        excerpts = f"{real.row_count} excerpts"
        rows.append([REAL, excerpts, "", number(real.activation_median), *_opinions(names, real.opinions), "", "1", ""])
        meaning = f" ({each.gathered.meaning})" if each.gathered.meaning else ""
        console.print_table(f"{each.gathered.title}{meaning}", [*columns, "diversity#", "near duplicates#"], rows)
    for opposition in evidence.oppositions:
        contrasts = opposition.contrasts.items()
        console.print_table(
            f"AUC of {opposition.high} against {opposition.low}",
            ["setting", *(f"{name}#" for name in names)],
            [[place, *map(_auc, found)] for place, found in contrasts],
        )
    if evidence.unjudged:
        console.show(evidence.unjudged)
    for of_what, words in evidence.verdict():
        console.show(f"{of_what}. {words}")


def _opinions(names: Sequence[str], opinions: "Mapping[str, Opinion]") -> list[str]:
    """A cell for each judge, empty where it has none."""
    known = (opinions.get(name) for name in names)
    return [", ".join(_opinion(each.median, each.vocal_share)) if each else "" for each in known]


def _opinion(median: float, vocal_share: float) -> tuple[str, str]:
    return f"{median:.2f}", f"{100 * vocal_share:.0f} %"


def _auc(contrast: "Contrast") -> str:
    return f"{contrast.auc:.3f} [{contrast.auc_low:.3f}, {contrast.auc_high:.3f}]"
