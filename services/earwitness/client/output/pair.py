"""Both senses of an objective in one folder: each as a run of its own, and a page that sets them side by side."""

from collections.abc import Sequence
from pathlib import Path

from earwitness.client.output.directory import new_directory
from earwitness.client.output.folder import write_run
from earwitness.client.output.page import write_index
from earwitness.client.output.run import Run

PAIR_MARKS = ("index.html", "maximise/request.json", "minimise/request.json")
"""What an earlier folder of both senses holds."""


def write_pair(directory: Path, runs: Sequence[Run], *, force: bool = False) -> None:
    """Write each run to the folder of its sense, and index.html. The folder appears whole or not at all.

    Raises: as `new_directory`.
    """
    folders: dict[str, Run] = {run.objective.sense: run for run in runs}
    words = " and ".join(run.meaning or str(run.objective) for run in runs)
    with new_directory(directory, force=force, marks=PAIR_MARKS) as folder:
        for name, run in folders.items():
            write_run(run, folder / name)
        write_index(folder / "index.html", f"{runs[0].model.name}: {words}", folders)
