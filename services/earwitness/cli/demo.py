"""`earwitness demo`: from nothing to two scored sets of explanations."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend, repository_folder
from earwitness.cli.flaws import Flaws
from earwitness.cli.options import Json, ModelRepository
from earwitness.cli.results import print_runs, run_document, steps_done
from earwitness.cli.stack import FREE_PORTS, Stack, StackSettings
from earwitness.errors import InvalidArgument
from earwitness.folders import shipped

if TYPE_CHECKING:
    from earwitness.client import Model, ScorerClient, Selection
    from earwitness.client.output import Run
    from earwitness.client.values import Sense

SELECTED_ROWS = 50
"""Real excerpts of each reference, as in the paper."""
SENSES: "tuple[Sense, Sense]" = ("maximise", "minimise")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an earlier demo's is replaced.")] = Path(
        "out/demo"
    ),
    model: Annotated[str, typer.Option("--model", "-m", help="Model to explain.")] = "svd-r1",
    audio: Annotated[
        list[Path] | None,
        typer.Option(help="Real audio, files or folders. Default: the music in the package."),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=2, help="Explanations each way.")] = 8,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="As published: this many steps of Adam, however far that drives the unit. Default: rows stop at an "
            "activation of real audio.",
        ),
    ] = None,
    backend: Annotated[
        Literal["triton", "local"] | None, typer.Option(help="Where models run. Default: Triton if it can run here.")
    ] = None,
    model_repository: ModelRepository = None,
    json_output: Json = False,
) -> None:
    """Explain a detector (by default the shipped singing-voice detector) both ways, score both, and write a page.

    Starts a stack of its own on free ports, builds references from real audio (the 50 excerpts with the highest output,
    and the 50 with the lowest, with all their layers), searches for sounds that activate the output as these do, scores
    them, and stops the stack. No torch is needed.

    Another model (--model) is explained by its first output: give --audio that suits it.

    [bold]Examples[/bold]

      earwitness demo

      earwitness demo --model replay-compact --model-repository models --audio speech/
    """
    from earwitness.client.output import PAIR_MARKS, check_free, write_pair

    check_free(out, force=True, marks=PAIR_MARKS)
    if out.is_dir() and (foreign := sorted({path.name for path in out.iterdir()} - {"index.html", *SENSES})):
        raise InvalidArgument(
            "out", f"{out} holds {foreign[0]}, which does not belong to an earlier demo; choose another folder"
        )
    repository = repository_folder(model_repository)
    recordings = audio or [shipped("deploy/demo/audio")]
    runs, ran_on = asyncio.run(_explain(repository, backend, model, recordings, count, steps))
    write_pair(out, runs, force=True)
    page = (out / "index.html").absolute()
    if json_output:
        console.print_json({"page": page, "backend": ran_on, "runs": [run_document(run) for run in runs]})
        return
    print_runs(runs)
    console.show(f"ran on {runs[0].result.summary.backend}")
    console.show_page(out)


async def _explain(
    repository: Path,
    backend: Literal["triton", "local"] | None,
    model_name: str,
    audio: Sequence[Path],
    count: int,
    steps: int | None,
) -> "tuple[list[Run], str]":
    """Both runs, and the backend that they ran on."""
    from earwitness.client import ExplainerClient, Objective, ScorerClient, Search, Selection, Settings
    from earwitness.client.explaining import explain_and_score
    from earwitness.client.references import find_recordings

    flaws = Flaws()
    recordings = find_recordings(audio, flaws)
    with tempfile.TemporaryDirectory(prefix="earwitness-demo-") as data, console.progress("demo") as update:
        settings = StackSettings(repository, Path(data), backend, ports=FREE_PORTS, inherit=False)
        async with (
            Stack(settings, say=console.say, fetching=lambda share: update(share, 1.0, "fetching Triton")) as stack,
            ExplainerClient(stack.endpoints.explainer) as explainer,
            ScorerClient(stack.endpoints.scorer) as scorer,
        ):
            model = await explainer.get_model(model_name)
            layer = model.output_layer.name
            runs = []
            for sense in SENSES:
                selection = Selection("top" if sense == "maximise" else "bottom", 0, SELECTED_ROWS)
                reference = await _build(scorer, Path(data), model, selection, recordings, flaws, update)
                objective = Objective(layer, 0, sense)
                console.say(f"searching: {objective}, {count} rows")
                search = Search.of(model_name, objective, row_count=count, settings=Settings(steps=steps))
                runs.append(
                    await explain_and_score(
                        explainer,
                        search,
                        model=model,
                        scorer=scorer,
                        reference=reference,
                        on_progress=lambda event: update(*steps_done(event)),
                    )
                )
            return runs, stack.endpoints.backend


async def _build(
    scorer: "ScorerClient",
    data: Path,
    model: "Model",
    selection: "Selection",
    recordings: list[Path],
    flaws: Flaws,
    update: console.Update,
) -> str:
    """The name of a reference of the model's output layer."""
    from earwitness.client.references import build_reference

    name = f"{model.name}-{model.output_layer.name}-{selection.kind}{selection.k}"
    console.say(f"building the reference {name} from {len(recordings)} recordings")
    backend = inference_backend(None, None, data)
    try:
        await build_reference(
            scorer,
            backend,
            name,
            model=model.name,
            layer=model.output_layer.name,
            selection=selection,
            recordings=recordings,
            description=f"{len(recordings)} recordings",
            on_progress=lambda event: update(event.done_count, event.recording_count, f"reference {name}"),
            on_flaw=flaws,
        )
    finally:
        await backend.close()
    return name
