"""What training needs of a corpus of utterances, whoever reads it from disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

UtteranceSplit = Literal["train", "dev", "eval"]


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker: genuine, or a replay of such."""

    id: str
    """Unique within a corpus, e.g. the file's name without its ending."""
    path: Path
    genuine: bool
    speaker: str


class UtteranceCorpus(Protocol):
    """Utterances in three splits."""

    @property
    def fingerprint(self) -> str:
        """Differs when any utterance, label or split does."""
        ...

    @property
    def sources(self) -> Sequence[str]:
        """Where the recordings come from, in words, for the model card."""
        ...

    def utterances(self, split: UtteranceSplit) -> Sequence[Utterance]:
        """The utterances of a split, always in the same order."""
        ...
