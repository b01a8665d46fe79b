"""Recordings with labels as data: found, checked, and imported into a corpus that training reads. Needs no torch."""

from earwitness.training.datasets.asvspoof import SpoofingCorpus, open_spoofing_corpus
from earwitness.training.datasets.check import check_data
from earwitness.training.datasets.importing import Imported, import_data, load_recordings
from earwitness.training.datasets.layout import SeededSplit
from earwitness.training.datasets.problems import BrokenData, Problem, count, errors_of, sorted_problems
from earwitness.training.datasets.report import DataReport, SplitSummary, UtteranceSummary
from earwitness.training.datasets.survey import DataConfig, DataKind

__all__ = [
    "BrokenData",
    "DataConfig",
    "DataKind",
    "DataReport",
    "Imported",
    "Problem",
    "SeededSplit",
    "SplitSummary",
    "SpoofingCorpus",
    "UtteranceSummary",
    "check_data",
    "count",
    "errors_of",
    "import_data",
    "load_recordings",
    "open_spoofing_corpus",
    "sorted_problems",
]
