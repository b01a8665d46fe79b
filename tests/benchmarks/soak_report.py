"""What a soak's samples and calls come to: growth with its uncertainty, latencies of the first and the last fifth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from tests.benchmarks.soak_load import Call
from tests.helpers.processes import Usage

MIB = 2**20
ENDS = 5
"""Samples at each end whose median stands for it."""
FIFTH = 0.2


@dataclass(frozen=True)
class Sample:
    """How things were at `at_s`: each process, each database's bytes, calls that were over."""

    at_s: float
    processes: Mapping[str, Usage]
    databases: Mapping[str, int]
    call_count: int

    def row(self) -> dict[str, float]:
        """The sample as a line of a table."""
        return {
            "seconds": round(self.at_s, 2),
            "calls": self.call_count,
            **{f"{name}_{key}": value for name, each in self.processes.items() for key, value in vars(each).items()},
            **{f"{name}_db_bytes": size for name, size in self.databases.items()},
        }


def report(samples: Sequence[Sample], calls: Sequence[Call], warm_up_s: float) -> dict[str, Any]:
    """Figures of what came after the warm-up."""
    warm = [each for each in samples if each.at_s >= warm_up_s] or list(samples)
    hours = np.array([each.at_s for each in warm]) / 3600
    later = [call for call in calls if call.at_s >= warm_up_s]
    end_s = warm[-1].at_s
    span_s = FIFTH * (end_s - warm_up_s)
    parts = {
        "first": [call for call in later if call.at_s < warm_up_s + span_s],
        "last": [call for call in later if call.at_s >= end_s - span_s],
    }
    return {
        "seconds": end_s,
        "warm_up_s": warm_up_s,
        "processes": {
            name: {
                "memory_mib": _growth(hours, np.array([each.processes[name].resident_bytes / MIB for each in warm])),
                "descriptors": _ends([each.processes[name].descriptor_count for each in warm]),
                "threads": _ends([each.processes[name].thread_count for each in warm]),
            }
            for name in warm[0].processes
        },
        "databases_mib": {
            name: _growth(hours, np.array([each.databases[name] / MIB for each in warm])) for name in warm[0].databases
        },
        "latency_s": {
            kind: {part: _latency([call for call in found if call.kind == kind]) for part, found in parts.items()}
            for kind in sorted({call.kind for call in calls})
        },
        "codes": {
            kind: dict(Counter(call.code for call in calls if call.kind == kind))
            for kind in sorted({call.kind for call in calls})
        },
    }


def print_report(figures: Mapping[str, Any]) -> None:
    """The tables."""
    print(f"\n{figures['seconds'] / 60:.1f} min, figures after {figures['warm_up_s'] / 60:.1f} min of warm-up")
    print(f"{'':12} {'start':>9} {'end':>9} {'growth MiB/h (95 %)':>28}   {'files':>11} {'threads':>11}")
    for name, each in figures["processes"].items():
        ends = [f"{each[key]['start']} -> {each[key]['end']}" for key in ("descriptors", "threads")]
        print(f"{name:12} {_growth_words(each['memory_mib'])}   {ends[0]:>11} {ends[1]:>11}")
    for name, each in figures["databases_mib"].items():
        print(f"{f'{name}.db':12} {_growth_words(each)}")
    print(f"\n{'':12} {'first fifth: p50':>16} {'p99 s':>8} {'last fifth: p50':>16} {'p99 s':>8}   answers")
    for kind, each in figures["latency_s"].items():
        numbers = [each[part][key] for part in ("first", "last") for key in ("p50", "p99")]
        shown = [f"{number:.2f}" if number is not None else "-" for number in numbers]
        codes = ", ".join(f"{code}: {count}" for code, count in figures["codes"][kind].items())
        print(f"{kind:12} {shown[0]:>16} {shown[1]:>8} {shown[2]:>16} {shown[3]:>8}   {codes}")


def draw_picture(samples: Sequence[Sample], calls: Sequence[Call], path: Path) -> None:
    """Memory, open files and threads of each process, and every call's latency, over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 12), layout="constrained")
    memory, files, latency = figure.subplots(3, 1, sharex=True)
    minutes = [each.at_s / 60 for each in samples]
    for name in samples[0].processes:
        used = [each.processes[name] for each in samples]
        memory.plot(minutes, [each.resident_bytes / MIB for each in used], label=name)
        (line,) = files.plot(minutes, [each.descriptor_count for each in used], label=f"{name}: files")
        files.plot(minutes, [each.thread_count for each in used], ":", color=line.get_color(), label=f"{name}: threads")
    for kind in sorted({call.kind for call in calls}):
        found = [call for call in calls if call.kind == kind]
        latency.plot([call.at_s / 60 for call in found], [call.seconds for call in found], ".", ms=3, label=kind)
    memory.set_ylabel("resident memory, MiB")
    files.set_ylabel("open files, threads")
    latency.set(ylabel="seconds of a call", xlabel="minutes", yscale="log")
    for axes in (memory, files, latency):
        axes.legend(loc="upper left", fontsize="small", ncols=2)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def _growth(hours: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Both ends, and the slope an hour: the median of the slopes between all pairs, which peaks do not move."""
    slope, _, low, high = theilslopes(values, hours) if len(values) > 1 else (0.0, 0.0, 0.0, 0.0)
    ends = _ends(list(values))
    return {**ends, "per_hour": float(slope), "per_hour_low": float(low), "per_hour_high": float(high)}


def _growth_words(each: Mapping[str, float]) -> str:
    slope = f"{each['per_hour']:+.1f} ({each['per_hour_low']:+.1f} to {each['per_hour_high']:+.1f})"
    return f"{each['start']:9.1f} {each['end']:9.1f} {slope:>28}"


def _ends(values: Sequence[float]) -> dict[str, float]:
    return {"start": float(np.median(values[:ENDS])), "end": float(np.median(values[-ENDS:]))}


def _latency(calls: Sequence[Call]) -> dict[str, float | int | None]:
    seconds = [call.seconds for call in calls if not call.failed]
    quantiles = np.quantile(seconds, [0.5, 0.99]).tolist() if seconds else [None, None]
    return {"count": len(seconds), "p50": quantiles[0], "p99": quantiles[1]}
