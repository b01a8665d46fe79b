"""Steps as cells of a table, for the page and the terminal."""

from collections.abc import Callable

from earwitness.bench.values import KindFigures, StepFigures
from earwitness.client.output.words import number, percent

COLUMNS = (
    "calls/s",
    "row-steps/s",
    "refused",
    "running",
    "waiting",
    "Triton busy",
    "Triton queue",
    "CPU",
    "saturation",
)
"""Of a step."""
KIND_COLUMNS = ("kind", "calls/s", "row-steps/s", "p50 s", "p95 s", "p99 s", "calls by code")
"""Of a kind of call in a step."""
CPU_SHOWN = ("explainer", "scorer", "triton", "clients", "others")


def step_name(step: StepFigures) -> str:
    """How many clients, or which rate."""
    return str(step.clients) if step.planned_per_s is None else f"{step.planned_per_s:.3g} calls/s"


def step_cells(step: StepFigures) -> tuple[list[str], list[list[str]]]:
    """The cells of a step, and those of each of its kinds."""
    busiest = step.saturation
    cells = [
        number(step.calls_per_s),
        number(step.row_steps_per_s),
        percent(step.refused_share),
        _known(step.searches_running, number),
        _known(step.searches_waiting, number),
        _known(step.triton_busy_share, percent),
        _known(step.triton_queue_s, milliseconds),
        ", ".join(f"{name} {step.cpu_cores[name]:.2f}" for name in CPU_SHOWN if name in step.cpu_cores),
        f"{busiest[0]} {percent(busiest[1])}" if busiest else "",
    ]
    return cells, [kind_cells(each) for each in step.kinds]


def kind_cells(kind: KindFigures) -> list[str]:
    """The cells of one kind of call."""
    return [
        kind.kind,
        number(kind.calls_per_s),
        _known(kind.row_steps_per_s, number),
        *(_known(each, number) for each in (kind.p50_s, kind.p95_s, kind.p99_s)),
        ", ".join(f"{count} {code}" for code, count in sorted(kind.codes.items())),
    ]


def milliseconds(seconds: float) -> str:
    """A short time."""
    return f"{number(1e3 * seconds)} ms"


def _known(value: float | None, words: Callable[[float], str]) -> str:
    return "" if value is None else words(value)
