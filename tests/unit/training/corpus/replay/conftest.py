"""One small replay corpus, built once, with every kind of loudspeaker in each split."""

import pytest

from earwitness.training.corpus import Corpus
from earwitness.training.corpus.replay import ReplayConfig, build_replay_corpus


@pytest.fixture(scope="session")
def small_replay_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build_replay_corpus(ReplayConfig.small(), tmp_path_factory.mktemp("replay"), workers=2)
