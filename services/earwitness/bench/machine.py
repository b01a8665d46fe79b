"""This machine: what it is, what it is busy with, and what the processes of a stack take of it."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from earwitness import __version__
from earwitness.inference.tritonserver import process_group

CPU_SECONDS = "earwitness_bench_cpu_seconds"
MACHINE = "machine"
"""Stands in place of a process for the time that all processors were busy, with whatever."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)
"""Of a line of /proc/stat: idle, and waiting for a disk."""
_COUNTED_FIELDS = 8
"""The fields after them are parts of others."""


def describe_machine() -> dict[str, Any]:
    """What the figures depend on, and what runs: hardware first, load and versions after it."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": platform.platform(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,  # whichever of its distributions is installed
        "earwitness": __version__,
    }


class CpuCollector(Collector):
    """Shows how long the processors were busy: altogether, and with groups of processes, by their leaders' ids.

    For processes that show no such metric themselves, such as Triton with the processes of its models.
    """

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._groups = groups

    def collect(self) -> Iterator[Metric]:
        """Read anew at every scrape."""
        seconds = CounterMetricFamily(CPU_SECONDS, "Processor time used.", labels=["process"])
        seconds.add_metric([MACHINE], _machine_seconds())
        for name, leader in self._groups.items():
            seconds.add_metric([name], sum(map(_process_seconds, process_group(leader))))
        yield seconds


def _machine_seconds() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1 : 1 + _COUNTED_FIELDS]
    return sum(int(each) for place, each in enumerate(fields) if place not in _IDLE_FIELDS) / _TICKS_PER_S


def _process_seconds(process_id: int) -> float:
    """Of a process and the children that it has outlived."""
    with suppress(OSError):  # ended since it was listed
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS_PER_S
    return 0.0


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
