"""What processes take, read from Linux' /proc: a server's children, such as Triton's Python stubs, count with it."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """Resident memory, open file descriptors and threads."""

    resident_bytes: int
    descriptor_count: int
    thread_count: int


def own_usage(process_id: int) -> Usage:
    """Of one process. Raises: FileNotFoundError, ProcessLookupError for one that is gone."""
    folder = PROC / str(process_id)
    return Usage(resident_bytes(process_id), len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))


def usage(process_id: int) -> Usage:
    """Of a process and all below it. Raises: as `own_usage`."""
    parts = [own_usage(process_id)]
    for child in children(process_id):
        try:
            parts.append(usage(child))
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return Usage(
        sum(each.resident_bytes for each in parts),
        sum(each.descriptor_count for each in parts),
        sum(each.thread_count for each in parts),
    )


def resident_bytes(process_id: int) -> int:
    """Resident memory of one process. Raises: as `own_usage`."""
    return int((PROC / str(process_id) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_s(process_id: int) -> float:
    """Seconds of processor time that one process has used. Raises: as `own_usage`."""
    fields = (PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(process_id: int) -> list[int]:
    """Process ids. Raises: as `own_usage`."""
    tasks = PROC / str(process_id) / "task"
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def mapped_files(process_id: int) -> set[str]:
    """Paths of the files, shared libraries above all, that a process has in its memory. Raises: as `own_usage`."""
    lines = (PROC / str(process_id) / "maps").read_text().splitlines()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")}
