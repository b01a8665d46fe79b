"""A trained replay detector: its network, its front end, its windows, and the scores that it gives to utterances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.training.checkpoint import file_sha256, load_checkpoint
from earwitness.training.networks.replay import ReplayNetwork
from earwitness.training.replay.sampling import utterance_scores
from earwitness.training.replay.spectrograms import stored_spectrograms
from earwitness.training.replay.utterances import Utterance
from earwitness.training.run_folder import DeviceName, Progress, keep_freed_memory, silent, training_device


@dataclass(frozen=True)
class ReplayDetector:
    """`hop_frames` parts the windows that scores are averaged over; None is one window, at the beginning."""

    path: Path
    network: ReplayNetwork
    profile: FeatureProfile
    hop_frames: int | None
    corpus: str
    """Fingerprint of the corpus that it was trained on."""

    @classmethod
    def load(cls, path: Path, device: DeviceName = "auto") -> Self:
        """The detector of a checkpoint, on `device`.

        Raises: CheckpointError when the file is no checkpoint of a replay detector; InvalidArgument for a device that
        is not there.
        """
        module, meta = load_checkpoint(path, "replay")
        keep_freed_memory()
        record = meta.training
        return cls(
            path,
            cast(ReplayNetwork, module.to(training_device(device))),
            profile_from_dict(meta.features),
            record.get("window_hop"),
            str(record.get("corpus", "")),
        )

    @property
    def parameters(self) -> int:
        """How many the training chose."""
        return sum(each.numel() for each in self.network.parameters())

    def scores(
        self,
        utterances: Sequence[Utterance],
        spectrograms: Path,
        *,
        alteration: str | None = None,
        workers: int = 0,
        progress: Progress = silent,
    ) -> NDArray[np.float64]:
        """Score `[U]` of each utterance, higher for genuine: log-odds, the mean over its windows.

        `spectrograms` is a folder for them, which is read where it holds them already; `alteration` as there.

        Raises: as `stored_spectrograms`.
        """
        frames = self.profile.excerpt_shape[1]
        data = stored_spectrograms(
            utterances,
            self.profile,
            spectrograms,
            kept_frames=frames if self.hop_frames is None else None,
            alteration=alteration,
            workers=workers,
            progress=progress,
        )
        return utterance_scores(self.network, data, frames, self.hop_frames, progress=progress)

    def to_dict(self) -> dict[str, Any]:
        """What it is, as plain values."""
        return {
            "checkpoint": str(self.path),
            "sha256": file_sha256(self.path),
            "features": self.profile.name,
            "window_hop": self.hop_frames,
            "parameters": self.parameters,
        }
