"""The seeded synthetic corpus of singing over accompaniment, and labelled spectrograms in general. Needs no torch."""

from earwitness.training.corpus.build import Corpus, build_corpus, open_corpus
from earwitness.training.corpus.config import SPLITS, CorpusConfig, Split
from earwitness.training.corpus.dataset import (
    Clip,
    DatasetError,
    LabelledSpectrograms,
    Quantisation,
)

__all__ = [
    "SPLITS",
    "Clip",
    "Corpus",
    "CorpusConfig",
    "DatasetError",
    "LabelledSpectrograms",
    "Quantisation",
    "Split",
    "build_corpus",
    "open_corpus",
]
