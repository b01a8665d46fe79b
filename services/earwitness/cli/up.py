"""`earwitness up`: the whole stack on this machine."""

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from earwitness.cli import console
from earwitness.cli.connection import Connection, Endpoints, data_folder, repository_folder
from earwitness.cli.options import Data, Json, ModelRepository
from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.client.service import ServiceClient

HEALTH_INTERVAL_S = 2.0
PORTS = "Ports (0 takes a free one)"


def _port(meaning: str) -> Any:
    return typer.Option(min=0, max=65535, metavar="PORT", help=meaning, rich_help_panel=PORTS)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    context: typer.Context,
    backend: Annotated[
        Literal["triton", "local"] | None,
        typer.Option(help="Where models run: on a real Triton, or in process. Default: Triton if it can run here."),
    ] = None,
    model_repository: ModelRepository = None,
    triton: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Explain what a Triton of your own serves, at its gRPC address."),
    ] = None,
    data: Data = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    explainer_port: Annotated[int, _port("Explainer (gRPC).")] = Ports.explainer,
    scorer_port: Annotated[int, _port("Scorer (gRPC).")] = Ports.scorer,
    triton_port: Annotated[int, _port("Triton (gRPC).")] = Ports.triton,
    explainer_metrics_port: Annotated[int, _port("Metrics of the explainer.")] = Ports.explainer_metrics,
    scorer_metrics_port: Annotated[int, _port("Metrics of the scorer.")] = Ports.scorer_metrics,
    triton_metrics_port: Annotated[int, _port("Metrics of Triton.")] = Ports.triton_metrics,
    trace_endpoint: Annotated[
        str, typer.Option(help="Collector of traces (OTLP over HTTP), e.g. http://localhost:4318. Default: no traces.")
    ] = "",
    restarts: Annotated[
        int, typer.Option(min=0, help="Maximum number of restarts of a process within ten minutes.")
    ] = 3,
    json_output: Json = False,
) -> None:
    """Run the whole stack on this machine until Ctrl-C: Triton, scorer, explainer, metrics.

    Triton is fetched once (about 55 MB, with a checked hash) into $EARWITNESS_CACHE or the user's cache folder. If it
    cannot run, the same models run in process, with a message that gives the reason. The other commands find the stack
    by themselves. All other settings of the services come from EARWITNESS_EXPLAINER_* and EARWITNESS_SCORER_*. A
    process that ends by itself is restarted after 1, 2, 4 s, with a message that is also kept in logs/up.log; after too
    many restarts the whole stack ends.

    [bold]Examples[/bold]

      earwitness up

      earwitness up --backend local --model-repository my_models --explainer-port 6000

      earwitness up --trace-endpoint http://localhost:4318

      earwitness up --triton gpu-box:8001
    """
    connection: Connection = context.obj
    if triton is not None and backend is not None:
        raise InvalidArgument("backend", "is chosen by --triton already; leave it out")
    settings = StackSettings(
        model_repository=repository_folder(model_repository) if triton is None else Path(),
        triton_url=triton,
        data=data_folder(data).absolute(),
        backend=backend,
        host=host,
        ports=Ports(
            explainer_port, scorer_port, triton_port, explainer_metrics_port, scorer_metrics_port, triton_metrics_port
        ),
        tls=connection.tls,
        trace_endpoint=trace_endpoint,
        restarts=restarts,
    )
    asyncio.run(_serve(settings, json_output))


async def _serve(settings: StackSettings, json_output: bool) -> None:
    """Raises: StackError when a part of the stack keeps ending by itself."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    stopping = asyncio.create_task(stopped.wait())
    running = asyncio.create_task(_run(settings, json_output))
    await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        console.say("stopping")
        running.cancel()
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _run(settings: StackSettings, json_output: bool) -> None:
    async with AsyncExitStack() as opened:
        with console.progress("starting") as update:
            stack = Stack(settings, say=console.say, fetching=lambda share: update(share, 1.0, "fetching Triton"))
            await opened.enter_async_context(stack)
        if json_output:
            console.print_json(stack.endpoints.__dict__)
        else:
            _print(stack.endpoints, settings)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stack.watch())
            tasks.create_task(_follow_health(stack))


async def _follow_health(stack: Stack) -> None:
    """Print when a service becomes unhealthy or healthy again."""
    from earwitness.client import ExplainerClient, ScorerClient

    tls = stack.settings.tls
    async with (
        ScorerClient(stack.endpoints.scorer, tls=tls) as scorer,
        ExplainerClient(stack.endpoints.explainer, tls=tls) as explainer,
    ):
        clients: dict[str, ServiceClient] = {"scorer": scorer, "explainer": explainer}
        healthy = dict.fromkeys(clients, True)
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_S)
            for name, client in clients.items():
                now = await client.serving()
                if now != healthy[name]:
                    console.say(f"the {name} is {'healthy again' if now else 'not healthy'}")
                healthy[name] = now


def _print(endpoints: Endpoints, settings: StackSettings) -> None:
    addresses = {"explainer": endpoints.explainer, "scorer": endpoints.scorer, "triton": endpoints.triton}
    rows = [
        [name, address, endpoints.metrics.get(name, ""), str(endpoints.process_ids.get(name, ""))]
        for name, address in addresses.items()
        if address is not None
    ]
    where = "Triton" if endpoints.triton else "ONNX Runtime, in the explainer"
    if settings.triton_url is not None:
        where = "a Triton of your own"
    console.print_table("earwitness is up", ["service", "gRPC", "metrics", "process#"], rows)
    console.say(f"models run on {where}: {settings.triton_url or endpoints.model_repository}")
    console.say(f"logs in {settings.data / 'logs'} (*.log.1: the previous run); Ctrl-C stops everything")
