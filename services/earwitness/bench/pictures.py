"""The pictures of a benchmark, each as a PNG and as part of the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from earwitness.bench.conclusions import conclude
from earwitness.bench.values import CLIENT_KINDS, BenchReport, Kind, StepFigures
from earwitness.client.output.plots import INK, drawing, svg_of

COLOURS: dict[str, str] = {
    "explain": "#e2711d", "stream": "#2389b5", "score": "#5f9e45", "sweep": "#8a63b8", "infer": "#7d8590",
}  # fmt: skip
CPU_COLOURS = {
    "triton": "#e2711d", "explainer": "#2389b5", "scorer": "#5f9e45", "clients": "#8a63b8", "prometheus": "#c9a227",
    "others": "#7d8590",
}  # fmt: skip
NAMES = {"infer": "Triton alone"}
SIZE = (6.4, 3.9)
DPI = 130
Drawing = Callable[[BenchReport], Figure]


def drawings(report: BenchReport) -> dict[str, tuple[str, Drawing]]:
    """The pictures that a report gives, by the name of their files: what each shows, and what draws it."""
    found: dict[str, tuple[str, Drawing]] = {
        "throughput": ("Row-steps a second through the services and by Triton alone", draw_throughput),
        "latency": ("Median (line) and 99th percentile (dashes) of calls that succeeded", draw_latency),
        "saturation": ("Processors in use, by whom", draw_saturation),
    }
    if report.opened:
        found["overload"] = ("Open loop: calls that succeeded and that were refused", draw_overload)
    return found


def save(report: BenchReport, folder: Path) -> None:
    """Write every picture into the folder."""
    for name, (_, draw) in drawings(report).items():
        with drawing():
            figure = draw(report)
            FigureCanvasAgg(figure)
            figure.savefig(folder / f"{name}.png", dpi=DPI, facecolor="white")


def as_svg(report: BenchReport, name: str, words: str, draw: Drawing) -> str:
    """A picture as part of a page; `words` say what it shows."""
    with drawing():
        return svg_of(draw(report), name, words)


def draw_throughput(report: BenchReport) -> Figure:
    """Row-steps over clients; the knee is marked."""
    figure, axes = _figure("clients", "row-steps/s")
    _over_clients(axes, report.closed, lambda step: step.row_steps_per_s, COLOURS["explain"], "through the services")
    if report.triton:
        _over_clients(axes, report.triton, lambda step: step.row_steps_per_s, COLOURS["infer"], "Triton alone")
    knee = conclude(report).knee
    if knee is not None:
        axes.axvline(knee.clients, color=COLOURS["explain"], linewidth=1, linestyle=":", label="knee")
    axes.set_ylim(bottom=0)
    return _finished(figure, axes)


def draw_latency(report: BenchReport) -> Figure:
    """Percentiles of each kind over clients."""
    figure, axes = _figure("clients", "seconds")
    steps: tuple[tuple[Kind, Sequence[StepFigures]], ...] = (
        *((kind, report.closed) for kind in (*CLIENT_KINDS, "sweep")),
        ("infer", report.triton),
    )
    for kind, of_kind in steps:
        colour = COLOURS[kind]
        _over_clients(axes, of_kind, _getter(kind, "p50_s"), colour, NAMES.get(kind, kind))
        _over_clients(axes, of_kind, _getter(kind, "p99_s"), colour, "", dashed=True)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return _finished(figure, axes)


def draw_saturation(report: BenchReport) -> Figure:
    """Processors that each part used, one on top of the other, over clients; and how many there are."""
    figure, axes = _figure("clients", "processors in use")
    places = range(len(report.closed))
    floor = [0.0] * len(report.closed)
    for process, colour in CPU_COLOURS.items():
        cores = [step.cpu_cores.get(process, 0.0) for step in report.closed]
        if any(cores):
            axes.bar(places, cores, 0.7, floor, color=colour, label=process)
            floor = [below + more for below, more in zip(floor, cores, strict=True)]
    processors = report.machine.get("processors")
    if processors and max(floor, default=0) > 0:
        axes.axhline(processors, color=INK, linewidth=1, linestyle=":", label="all there are")
    axes.set_xticks(places, [str(step.clients) for step in report.closed])
    return _finished(figure, axes)


def draw_overload(report: BenchReport) -> Figure:
    """What came of the calls at each rate, as bars."""
    figure, axes = _figure("calls/s begun, and times the best rate", "calls/s")
    places = range(len(report.opened))
    begun = [step.begun_per_s if step.begun_per_s is not None else step.planned_per_s or 0.0 for step in report.opened]
    served = [step.calls_per_s for step in report.opened]
    refused = [step.refused_share * (rate or 0.0) for step, rate in zip(report.opened, begun, strict=True)]
    axes.bar(places, served, 0.6, color=COLOURS["stream"], label="succeeded")
    axes.bar(places, refused, 0.6, served, color=COLOURS["explain"], label="refused")
    labels = [f"{rate:.3g}\n{share:g} ×" for rate, share in zip(begun, report.plan.rate_shares, strict=True)]
    axes.set_xticks(places, labels)
    return _finished(figure, axes)


def _figure(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across, color=INK, fontsize=10)
    axes.set_ylabel(up, color=INK, fontsize=10)
    return figure, axes


def _over_clients(
    axes: Axes,
    steps: Sequence[StepFigures],
    value: Callable[[StepFigures], float | None],
    colour: str,
    label: str,
    *,
    dashed: bool = False,
) -> None:
    points = [(step.clients, found) for step in steps if (found := value(step)) is not None]
    if not points:
        return
    clients, values = zip(*points, strict=True)
    axes.plot(clients, values, "--" if dashed else "o-", color=colour, linewidth=1.4, markersize=4, label=label or None)
    axes.set_xscale("log", base=2)
    ticks = sorted({step.clients for step in steps})
    axes.set_xticks(ticks, [str(each) for each in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _getter(kind: Kind, figure: str) -> Callable[[StepFigures], float | None]:
    def get(step: StepFigures) -> float | None:
        found = step.of(kind)
        return None if found is None else getattr(found, figure)

    return get


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
        for text in legend.get_texts():
            text.set_color(INK)
    return figure
