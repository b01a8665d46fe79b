"""The sinsy singer: an HMM singing synthesiser with the Nitech F001 voice, driven by MusicXML."""

import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.training.corpus.native import extension, package_folder, quiet
from earwitness.training.corpus.score import Melody

SPEAKER = "nitech_jp_song070_f001"
LOWEST, HIGHEST = 55, 79
"""MIDI range in which the voice stays intelligible; notes beyond are moved by octaves."""
TICKS_PER_BEAT = 48
TICKS_PER_BAR = 4 * TICKS_PER_BEAT
LEAD_IN_BEATS = 1
"""A rest before the melody: without one, sinsy inserts a whole bar of its own."""
SHORTEST_NOTE_S, LONGEST_NOTE_S = 0.2, 1.5
"""Shorter notes have no room for a syllable; on longer ones the voice's synthesis filter tends to explode."""
ATTEMPTS = 30
STEPS = tuple(zip("CCDDEFFGGAAB", (0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0), strict=True))
KANA = tuple("あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ")


@dataclass(frozen=True)
class Piece:
    """A note, or a rest when `midi` is None, that lies within one bar."""

    start_ticks: int
    ticks: int
    midi: int | None


def sing_sinsy(
    melody: Melody, beat_s: float, duration_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], int]:
    """The melody on random kana: waveform `[samples]`, at most `duration_s` long, and its rate in Hz.

    The voice's filter explodes on one syllable in fifty or so; these and their neighbours are sung anew, and notes that
    explode on any syllable are left out.

    Raises: RuntimeError when sinsy cannot read its voice or the score, or stays unstable whatever is sung.
    """
    pieces = score_pieces(melody, beat_s)
    lyrics = [_draw_kana(rng) for _ in pieces]
    starts_s = np.array([piece.start_ticks for piece in pieces]) * beat_s / TICKS_PER_BEAT
    for attempt in range(2 * ATTEMPTS):
        waveform, rate_hz = _synthesise(music_xml(pieces, lyrics, beat_s))
        (exploded,) = np.nonzero(~(np.abs(waveform) <= 1.0))
        if not len(exploded):
            start = round(LEAD_IN_BEATS * beat_s * rate_hz)
            return waveform[start : start + int(duration_s * rate_hz)], rate_hz
        for number in np.unique(np.searchsorted(starts_s, exploded / rate_hz, side="right") - 1):
            if attempt >= ATTEMPTS:
                pieces[number] = replace(pieces[number], midi=None)
            for guilty in range(max(0, number - 1), min(len(pieces), number + 2)):
                lyrics[guilty] = _draw_kana(rng)
    raise RuntimeError(f"sinsy's filter stayed unstable over {2 * ATTEMPTS} attempts at the melody {melody}")


def score_pieces(melody: Melody, beat_s: float) -> list[Piece]:
    """The melody in ticks, with rests before, between and after its notes, cut at bar lines and at the longest note."""
    shortest, longest = (round(limit_s / beat_s * TICKS_PER_BEAT) for limit_s in (SHORTEST_NOTE_S, LONGEST_NOTE_S))
    pieces: list[Piece] = []
    position = 0

    def write(ticks: int, midi: int | None) -> None:
        nonlocal position
        while ticks > 0:
            length = min(ticks, longest, TICKS_PER_BAR - position % TICKS_PER_BAR)
            pieces.append(Piece(position, length, midi if length >= shortest else None))
            position += length
            ticks -= length

    for note in melody:
        start, end = (
            round((LEAD_IN_BEATS + second / beat_s) * TICKS_PER_BEAT) for second in (note.start_s, note.end_s)
        )
        write(start - position, None)
        write(max(shortest, end - max(start, position)), note.midi)
    write(TICKS_PER_BEAT, None)
    write(-position % TICKS_PER_BAR, None)
    return pieces


def music_xml(pieces: Sequence[Piece], lyrics: Sequence[str], beat_s: float) -> bytes:
    """The pieces as a MusicXML score in 4/4, one kana each."""
    root = ET.Element("score-partwise", version="2.0")
    ET.SubElement(ET.SubElement(ET.SubElement(root, "part-list"), "score-part", id="P1"), "part-name").text = "voice"
    part = ET.SubElement(root, "part", id="P1")
    for piece, kana in zip(pieces, lyrics, strict=True):
        if piece.start_ticks % TICKS_PER_BAR == 0:
            measure = ET.SubElement(part, "measure", number=str(1 + piece.start_ticks // TICKS_PER_BAR))
        if piece.start_ticks == 0:
            attributes = ET.SubElement(measure, "attributes")
            ET.SubElement(attributes, "divisions").text = str(TICKS_PER_BEAT)
            time = ET.SubElement(attributes, "time")
            ET.SubElement(time, "beats").text, ET.SubElement(time, "beat-type").text = "4", "4"
            ET.SubElement(ET.SubElement(measure, "direction"), "sound", tempo=f"{60 / beat_s:.3f}")
        _append_note(measure, piece, kana)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _append_note(measure: ET.Element, piece: Piece, kana: str) -> None:
    note = ET.SubElement(measure, "note")
    if piece.midi is None:
        ET.SubElement(note, "rest")
    else:
        midi = piece.midi + 12 * (max(0, -(-(LOWEST - piece.midi) // 12)) - max(0, -(-(piece.midi - HIGHEST) // 12)))
        step, alter = STEPS[midi % 12]
        pitch = ET.SubElement(note, "pitch")
        ET.SubElement(pitch, "step").text = step
        if alter:
            ET.SubElement(pitch, "alter").text = str(alter)
        ET.SubElement(pitch, "octave").text = str(midi // 12 - 1)
    ET.SubElement(note, "duration").text = str(piece.ticks)
    ET.SubElement(note, "voice").text = "1"
    if piece.midi is not None:
        lyric = ET.SubElement(note, "lyric")
        ET.SubElement(lyric, "syllabic").text = "single"
        ET.SubElement(lyric, "text").text = kana


def _draw_kana(rng: np.random.Generator) -> str:
    return KANA[int(rng.integers(len(KANA)))]


def _synthesise(score_xml: bytes) -> tuple[NDArray[np.float32], int]:
    package = package_folder("pysinsy")
    # sinsy warns of every note that is short for its syllable, and sings it all the same.
    with tempfile.TemporaryDirectory() as folder, quiet():
        score = Path(folder) / "score.xml"
        score.write_bytes(score_xml)
        synthesiser = extension("pysinsy", "sinsy").Sinsy()
        loaded = (
            synthesiser.setLanguages("j", str(package / "_dic"))
            and synthesiser.loadVoices(str(package / "htsvoice" / f"{SPEAKER}.htsvoice"))
            and synthesiser.loadScoreFromMusicXML(str(score))
        )
        if not loaded:
            raise RuntimeError(f"sinsy cannot load the voice {SPEAKER} or the score")
        samples, rate_hz = synthesiser.synthesize()
    return np.asarray(samples, dtype=np.float32) / np.float32(32768), int(rate_hz)
