"""Syllables of recorded or synthesised speech, and how to hold them for the length of a note."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.score import Melody


@dataclass(frozen=True)
class Syllable:
    """Frame positions in an analysed signal: consonants before and after a steady nucleus, which may be held."""

    start: int
    nucleus_start: int
    nucleus_end: int
    end: int


@dataclass(frozen=True)
class Span:
    """Where a syllable is sung: seconds, one or several slurred notes."""

    start_s: float
    end_s: float


def sung_spans(melody: Melody) -> list[Span]:
    """One span per syllable: slurred notes extend the span before them."""
    spans: list[Span] = []
    for note in melody:
        if note.slurred and spans:
            spans[-1] = Span(spans[-1].start_s, note.end_s)
        else:
            spans.append(Span(note.start_s, note.end_s))
    return spans


def hold(
    syllable: Syllable, frame_count: int, frames_per_source_frame: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Source positions `[frame_count]` that play `syllable` within `frame_count` output frames.

    Consonants keep their natural speed (`frames_per_source_frame`) unless they would fill over 70 % of the note; the
    nucleus is stretched over the rest, wandering slowly inside itself so that a long vowel stays alive.
    """
    before = (syllable.nucleus_start - syllable.start) * frames_per_source_frame
    after = (syllable.end - syllable.nucleus_end) * frames_per_source_frame
    squeeze = min(1.0, 0.7 * frame_count / max(before + after, 1e-9))
    lead_in, lead_out = int(before * squeeze), int(after * squeeze)
    held = frame_count - lead_in - lead_out
    nucleus = np.linspace(syllable.nucleus_start, syllable.nucleus_end, held)
    width = syllable.nucleus_end - syllable.nucleus_start
    nucleus = nucleus + 0.3 * width * np.sin(np.cumsum(rng.normal(0, 0.03, held)))
    return np.concatenate([
        np.linspace(syllable.start, syllable.nucleus_start, lead_in, endpoint=False),
        np.clip(nucleus, syllable.nucleus_start, syllable.nucleus_end),
        np.linspace(syllable.nucleus_end, syllable.end - 1, lead_out),
    ])  # fmt: skip


def interpolate(rows: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows `[frames, K]` read at fractional `positions` `[N]` → `[N, K]`, linear between neighbours."""
    last = len(rows) - 1
    lower = np.clip(positions.astype(np.int64), 0, last)
    weight = np.clip(positions - lower, 0, 1)[:, None].astype(rows.dtype)
    blended = rows[lower] * (1 - weight) + rows[np.minimum(lower + 1, last)] * weight
    return np.asarray(blended, dtype=np.float32)


def warp_frequencies(rows: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Spectral envelopes `[frames, bins]` with their formants moved by `factor` (above 1: a shorter vocal tract)."""
    if factor == 1.0:
        return rows
    return interpolate(rows.T, np.arange(rows.shape[1]) / factor).T


def find_syllables(energy_db: NDArray[np.float64], voiced: NDArray[np.bool_], frame_s: float) -> Sequence[Syllable]:
    """Syllables around the peaks of a speech energy contour `[frames]` that are voiced and near the loudest one."""
    from scipy import signal

    width = max(3, round(0.06 / frame_s)) | 1
    window = np.hanning(width + 2)[1:-1]
    smooth = np.convolve(np.where(voiced, energy_db, energy_db.min()), window / window.sum(), mode="same")
    peaks, _ = signal.find_peaks(smooth, prominence=1.5, distance=max(1, round(0.08 / frame_s)))
    peaks = [int(peak) for peak in peaks if voiced[peak] and smooth[peak] > smooth.max() - 25]
    reach, longest_half = round(0.2 / frame_s), round(0.06 / frame_s)
    found = []
    for number, peak in enumerate(peaks):
        start = max(0, peak - reach)
        if number:
            previous = peaks[number - 1]
            start = max(start, previous + int(np.argmin(smooth[previous:peak])))
        end = min(len(smooth), peak + reach)
        if number + 1 < len(peaks):
            end = min(end, peak + int(np.argmin(smooth[peak : peaks[number + 1]])))
        steady = voiced & (smooth > smooth[peak] - 3)
        first = last = peak
        while first > start and steady[first - 1] and peak - first < longest_half:
            first -= 1
        while last < end - 1 and steady[last + 1] and last - peak < longest_half:
            last += 1
        if last - first >= 2 and end - start >= 5:
            found.append(Syllable(start, first, last, end))
    return found
