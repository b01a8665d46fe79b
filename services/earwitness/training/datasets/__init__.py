"""Recordings with labels as data: found, checked, and imported into a corpus that training reads. Needs no torch."""

from earwitness.training.datasets.check import DataReport, SplitSummary, check_data
from earwitness.training.datasets.importing import Imported, import_data, load_recordings
from earwitness.training.datasets.layout import Kind, SeededSplit
from earwitness.training.datasets.problems import BrokenData, Problem, count, errors_of, sorted_problems
from earwitness.training.datasets.survey import DataConfig

__all__ = [
    "BrokenData",
    "DataConfig",
    "DataReport",
    "Imported",
    "Kind",
    "Problem",
    "SeededSplit",
    "SplitSummary",
    "check_data",
    "count",
    "errors_of",
    "import_data",
    "load_recordings",
    "sorted_problems",
]
