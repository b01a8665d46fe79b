"""Clips of the corpus as audio files: for listening, and the recordings the demo builds its references from.

`python -m earwitness.training.corpus.audio FOLDER` makes the demo's recordings again.
"""

import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.features import LogMelProfile
from earwitness.training.corpus.build import analyse_speakers, voice_path
from earwitness.training.corpus.clip import RenderedClip, render_clip
from earwitness.training.corpus.config import CorpusConfig
from earwitness.training.corpus.plan import ClipPlan, plan_clips
from earwitness.training.corpus.world import SpokenVoice

DEMO_CONFIG = CorpusConfig(seed=1_904, test_clips=150, test_speakers=40)
"""Speakers, tracks and instruments of the test split, in songs that no corpus of another seed contains."""
DEMO_CLIPS = 48
VORBIS_COMPRESSION = 0.55


def render_clips(plans: Sequence[ClipPlan], config: CorpusConfig, workers: int = 1) -> list[RenderedClip]:
    """The planned clips as waveforms with labels; equal to what a corpus of this configuration stores."""
    speakers = sorted({speaker for plan in plans for speaker in plan.espeak_speakers})
    with tempfile.TemporaryDirectory() as folder:
        voices = Path(folder)
        analyse_speakers(speakers, voices, workers)
        return [
            render_clip(plan, config, lambda speaker: SpokenVoice.load(voice_path(voices, speaker))) for plan in plans
        ]


def vocal_intervals(vocal_frames: NDArray[np.bool_], profile: LogMelProfile) -> list[tuple[float, float, str]]:
    """Runs of equal labels `[frames]` as (start s, end s, "sing" or "nosing"), the words of the Jamendo label files."""
    changes = np.flatnonzero(np.diff(vocal_frames)) + 1
    centres_s = profile.frame_centres(len(vocal_frames)) / profile.sample_rate_hz
    end_s = profile.sample_count(len(vocal_frames)) / profile.sample_rate_hz
    bounds_s = [0.0, *(float(centres_s[change - 1 : change + 1].mean()) for change in changes), end_s]
    words = ["sing" if vocal_frames[frame] else "nosing" for frame in (0, *changes)]
    return [(start, end, word) for (start, end), word in zip(pairwise(bounds_s), words, strict=True)]


def write_demo_audio(folder: Path, workers: int = 1) -> list[RenderedClip]:
    """Writes `DEMO_CLIPS` clips, half of them vocal, as Ogg Vorbis with a `.lab` file each, and returns them."""
    import soundfile

    plans = plan_clips(DEMO_CONFIG, "test")
    half = DEMO_CLIPS // 2
    chosen = [plan for plan in plans if plan.vocal][:half] + [plan for plan in plans if not plan.vocal][:half]
    clips = render_clips(chosen, DEMO_CONFIG, workers)
    folder.mkdir(parents=True, exist_ok=True)
    profile = DEMO_CONFIG.profile
    for number, (plan, clip) in enumerate(zip(chosen, clips, strict=True)):
        name = f"{'vocal' if plan.vocal else 'instrumental'}-{number % half + 1:02d}"
        with soundfile.SoundFile(
            folder / f"{name}.ogg", "w", profile.sample_rate_hz, 1, subtype="VORBIS", format="OGG",
            compression_level=VORBIS_COMPRESSION,
        ) as file:  # fmt: skip
            # libsndfile's Vorbis encoder overflows its stack on long writes.
            for start in range(0, len(clip.waveform), 8_192):
                file.write(clip.waveform[start : start + 8_192])
        lines = (
            f"{start:.3f} {end:.3f} {label}\n" for start, end, label in vocal_intervals(clip.vocal_frames, profile)
        )
        (folder / f"{name}.lab").write_text("".join(lines))
    return clips


if __name__ == "__main__":
    write_demo_audio(Path(sys.argv[1]))
