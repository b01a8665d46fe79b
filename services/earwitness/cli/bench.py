"""`earwitness bench`: how much load a stack can take, and how it behaves under it."""

import asyncio
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.cli import console
from earwitness.cli.bench_results import print_comparison, print_report
from earwitness.cli.bench_target import own_stack, running_stack, target_of
from earwitness.cli.connection import (
    Connection,
    repository_folder,
)
from earwitness.cli.grouped import grouped
from earwitness.cli.options import SERVICES, Data, Explainer, Force, Json, ModelRepository, Scorer, Triton
from earwitness.cli.stack import Stack, StackSettings
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from earwitness.bench.values import BenchReport, Plan, Target
    from earwitness.bench.watch import Watch

LOAD, WATCH = "The load", "The Prometheus that watches"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


@dataclass(frozen=True)
class Load:
    """What the stack is called with."""

    clients: Annotated[
        str, typer.Option(metavar="N,N,...", help="Clients of each closed loop.", rich_help_panel=LOAD)
    ] = "1,2,4,8,16,32"
    rates: Annotated[
        str,
        typer.Option(
            metavar="SHARE,...|none",
            help="Rates of the open loops, as shares of the most calls/s of the closed ones; 10 is an overload.",
            rich_help_panel=LOAD,
        ),
    ] = "0.5,0.8,10"
    mix: Annotated[
        str,
        typer.Option(
            metavar="KIND=N,...",
            help="Calls of a client's round: explain (unary), stream (with progress), score. Default: two, two, one.",
            show_default=False,
            rich_help_panel=LOAD,
        ),
    ] = "explain=2,stream=2,score=1"
    sweep: Annotated[
        bool, typer.Option("--sweep/--no-sweep", help="One sweep after another behind them.", rich_help_panel=LOAD)
    ] = True
    triton_alone: Annotated[
        bool,
        typer.Option(
            "--triton-alone/--no-triton-alone",
            help="Then Triton's search model, past the services.",
            rich_help_panel=LOAD,
        ),
    ] = True
    rows: Annotated[int, typer.Option(help="Rows of a search, and of a call to Triton.", rich_help_panel=LOAD)] = 2
    steps: Annotated[int, typer.Option(help="Steps of a search.", rich_help_panel=LOAD)] = 5
    seconds: Annotated[float, typer.Option(help="Measured time of each step.", rich_help_panel=LOAD)] = 8.0
    warm_up: Annotated[float, typer.Option(help="Seconds of load before it.", rich_help_panel=LOAD)] = 2.0
    processes: Annotated[int, typer.Option(help="Processes that make the load.", rich_help_panel=LOAD)] = 2

    def plan(self, model: str) -> "Plan":
        """Raises: InvalidArgument naming the option that cannot be read, or is out of its range."""
        from earwitness.bench.values import Plan

        return Plan(
            model=model,
            clients=tuple(_whole("clients", each) for each in self.clients.split(",")),
            rate_shares=() if self.rates == "none" else tuple(_number("rates", each) for each in self.rates.split(",")),
            mix=dict(_share(each) for each in self.mix.split(",")),
            sweeping=self.sweep,
            triton_alone=self.triton_alone,
            rows=self.rows,
            steps=self.steps,
            seconds=self.seconds,
            warm_up_s=self.warm_up,
            processes=self.processes,
        )


@dataclass(frozen=True)
class Watching:
    """The Prometheus that the figures come from."""

    prometheus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The program. Default: the one on PATH.", rich_help_panel=WATCH),
    ] = None
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Instead of starting one: one that scrapes the stack already. Times are then those of the servers, by "
            "coarser histograms.",
            rich_help_panel=WATCH,
        ),
    ] = None
    select: Annotated[
        str,
        typer.Option(
            metavar="LABELS",
            help="""Label selector of the stack's metrics, e.g. 'namespace="audio"'.""",
            rich_help_panel=WATCH,
        ),
    ] = ""

    def program(self) -> Path | None:
        """What is to be started; None for a server that runs. Raises: BenchError for what is no program, or no URL."""
        from earwitness.bench.prometheus import Prometheus, find_prometheus

        if self.prometheus_url is None:
            return find_prometheus(self.prometheus)
        Prometheus(self.prometheus_url)  # a wrong address is told before the work begins
        return None


@dataclass(frozen=True)
class Loaded:
    """The stack that is loaded: one that is started, or one that runs."""

    backend: Annotated[
        Literal["triton", "local"] | None,
        typer.Option(help="Where models of the stack that is started run. Default: Triton where it can run."),
    ] = None
    model_repository: ModelRepository = None
    explainer: Explainer = None
    scorer: Scorer = None
    triton: Triton = None
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="Metrics of the explainer, the scorer, triton; for each.",
            rich_help_panel=SERVICES,
        ),
    ] = None
    data: Data = None

    def running(self, watching: Watching) -> "Target | None":
        """The stack that runs; None for one to be started. Raises: InvalidArgument for options of the other kind."""
        if self.explainer or self.scorer or self.triton or self.data:
            if self.backend:
                raise InvalidArgument("backend", "is for a stack that is started; the one that runs has its own")
            scraped = watching.prometheus_url is not None
            return running_stack(self.explainer, self.scorer, self.triton, self.data, self.metrics or [], scraped)
        return None

    def own(self, watching: Watching, data: Path, model: str) -> StackSettings:
        """The stack to start. Raises: InvalidArgument for options of one that runs."""
        if self.metrics or watching.prometheus_url:
            raise InvalidArgument(
                "metrics" if self.metrics else "prometheus_url",
                "is of a stack that runs: say which (--data, or --explainer and --scorer)",
            )
        return own_stack(repository_folder(self.model_repository), data, self.backend, model)


@grouped
def bench(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model to search.")] = "svd-r1",
    load: Load = Load(),
    watching: Watching = Watching(),
    loaded: Loaded = Loaded(),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write: page, pictures, table, figures.")
    ] = None,
    force: Force = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Measure nothing: compare the bench.json of two runs, B over A."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Load a stack step by step and report its capacity: throughput, latencies, refusals, the bottleneck, the knee.

    Starts a stack of its own with the services' defaults, a Prometheus that watches it, and processes that call it:
    more and more clients, then Triton alone, then calls at fixed rates, one of them far too high. Every figure is read
    back from Prometheus. With --data, --explainer, --scorer or --triton it loads an existing stack instead, whatever
    its settings; it creates a reference and sweeps there and deletes them afterwards.

    [bold]Examples[/bold]

      earwitness bench --out out/bench

      earwitness bench svd-r2 --clients 1,4 --rates none --rows 50 --seconds 30

      earwitness bench --data ~/.local/share/earwitness --mix explain=1 --no-sweep

      earwitness bench --compare before/bench.json after/bench.json
    """
    if compare is not None:
        print_comparison(*compare, json_output=json_output)
        return
    from earwitness.bench.report import BENCH_MARKS, bench_document, write_bench
    from earwitness.bench.watch import Watch

    plan = load.plan(model)
    if out is not None:
        from earwitness.client.output import check_free

        check_free(out, force=force, marks=BENCH_MARKS)
    program = watching.program()
    connection: Connection = context.obj
    running = loaded.running(watching)
    with tempfile.TemporaryDirectory(prefix="earwitness-bench-") as scratch:
        watch = Watch(Path(scratch, "watch"), program, watching.prometheus_url, watching.select)
        settings = loaded.own(watching, Path(scratch, "stack"), model) if running is None else None
        report = asyncio.run(_measure(plan, watch, connection, running, settings))
    if out is not None:
        write_bench(out, report, force=force)
    if json_output:
        console.print_json({**bench_document(report), "out": out and out.absolute()})
        return
    print_report(report)
    if out is not None:
        console.show_page(out)


async def _measure(
    plan: "Plan", watch: "Watch", connection: Connection, running: "Target | None", settings: StackSettings | None
) -> "BenchReport":
    """All that was started ends with Ctrl-C or SIGTERM."""
    from earwitness.bench.run import run_bench

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with console.progress("bench") as update:
            if running is not None:
                return await run_bench(
                    plan, running, watch, token=connection.token, tls=connection.tls, on_progress=update
                )
            assert settings is not None
            async with (
                Stack(settings, say=console.say, fetching=lambda share: update(share, 1.0, "fetching Triton")) as stack,
                asyncio.TaskGroup() as tasks,
            ):
                watching = tasks.create_task(stack.watch())
                target = target_of(stack.endpoints, "A stack of its own, with the services' defaults")
                report = await run_bench(plan, target, watch, on_progress=update)
                watching.cancel()
            return report
    except asyncio.CancelledError:
        raise typer.Abort from None


def _whole(field: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(field, f"got {text!r}; give whole numbers with commas between, e.g. 1,2,4") from None


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(field, f"got {text!r}; give numbers with commas between, e.g. 0.5,10") from None


def _share(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    return kind, _whole("mix", count or "1")
