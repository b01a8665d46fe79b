"""The output folders of searches and sweeps: arrays, sounds, pictures, tables, and a page that shows and plays it."""

from earwitness.client.output.directory import check_free, new_directory
from earwitness.client.output.folder import RUN_MARKS, write_run
from earwitness.client.output.page import write_index
from earwitness.client.output.pair import PAIR_MARKS, write_pair
from earwitness.client.output.report import (
    Examples,
    Outcome,
    RankedAgainst,
    RealExcerpt,
    SweepReport,
    example_ranks,
)
from earwitness.client.output.run import Run, Scoring
from earwitness.client.output.sweep import SWEEP_MARKS, SWEEPS_MARKS, write_sweep, write_sweeps

__all__ = [
    "PAIR_MARKS",
    "RUN_MARKS",
    "SWEEPS_MARKS",
    "SWEEP_MARKS",
    "Examples",
    "Outcome",
    "RankedAgainst",
    "RealExcerpt",
    "Run",
    "Scoring",
    "SweepReport",
    "check_free",
    "example_ranks",
    "new_directory",
    "write_index",
    "write_pair",
    "write_run",
    "write_sweep",
    "write_sweeps",
]
