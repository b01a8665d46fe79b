"""One small corpus, built once, with every engine in it."""

import pytest

from earwitness.training.corpus import Corpus, CorpusConfig, build_corpus


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> Corpus:
    return build_corpus(CorpusConfig.small(), tmp_path_factory.mktemp("corpus"), workers=2)
