"""The way of one trial's speech: through rooms, devices and codecs into a file of the verifier."""

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.replay.codecs import through_codec
from earwitness.training.corpus.replay.config import SAMPLE_RATE_HZ
from earwitness.training.corpus.replay.plan import Capture, Catalogue, Trial
from earwitness.training.corpus.replay.rooms import BEFORE_DIRECT

MARGIN_S = 0.6
"""Silence around the speech on its way: more than any file keeps, so that none begins where a recording did."""
FULL_SCALE = 32_767


def render_trial(trial: Trial, catalogue: Catalogue, speech: NDArray[np.float32]) -> NDArray[np.int16]:
    """`speech` `[samples]` (dry, 16 kHz, no silence around it) as the trial's file holds it; depends on these alone."""
    rng = trial.generator()
    margin = round(MARGIN_S * SAMPLE_RATE_HZ)
    sound = np.pad(speech.astype(np.float64), margin)
    if trial.attack is not None:
        stolen = _record(sound, trial.attack.capture, catalogue, rng)
        if trial.attack.codec:
            stolen = through_codec(stolen, trial.attack.codec)
        sound = catalogue.loudspeakers[trial.attack.loudspeaker].play(stolen)
    recorded = _record(sound, trial.capture, catalogue, rng)
    start = margin - round(trial.before_s * SAMPLE_RATE_HZ)
    kept = recorded[start : margin + len(speech) + round(trial.after_s * SAMPLE_RATE_HZ)]
    scale = 10 ** (trial.level_db / 20) / np.sqrt(np.mean(kept**2))
    samples: NDArray[np.int16] = np.rint(np.clip(scale * kept, -1, 1) * FULL_SCALE).astype(np.int16)
    return samples


def _record(
    sound: NDArray[np.float64], capture: Capture, catalogue: Catalogue, rng: np.random.Generator
) -> NDArray[np.float64]:
    """`sound` `[samples]` as the capture's microphone hears it in its room."""
    from scipy import signal

    room = catalogue.rooms[capture.room]
    response = room.impulse_response(capture.distance_m, rng)
    heard = signal.fftconvolve(sound, response)[BEFORE_DIRECT:][: len(sound)]
    microphone = catalogue.microphones[capture.microphone]
    return microphone.record(heard, room.noise(len(sound), rng), capture.snr_db, rng)
