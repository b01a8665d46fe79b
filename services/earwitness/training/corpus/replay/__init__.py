"""The seeded corpus of genuine and replayed speech, simulated, laid out as ASVspoof 2017 is distributed."""

from earwitness.training.corpus.replay.build import build_replay_corpus
from earwitness.training.corpus.replay.config import REPLAY_SPLITS, ReplayConfig, ReplaySplit, SplitSize

__all__ = ["REPLAY_SPLITS", "ReplayConfig", "ReplaySplit", "SplitSize", "build_replay_corpus"]
