"""Audio files of every kind to mono float32 waveforms, to their true end."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earwitness.features.audio import AudioError, Decoded, OnFlaw, log_flaw, resample
from earwitness.features.files import Foreign, Layout, Part, View, ffmpeg, look

if TYPE_CHECKING:
    import soundfile

BLOCK_SAMPLES = 1 << 18
"""Samples of each channel decoded at once: only the mean of the channels is kept of a long recording."""
CHECKED_BYTES = 1 << 20
"""Of a file that is only looked at."""
_WAY_OUT = "use WAV, FLAC, OGG or MP3"


def decode_audio(path: Path | str) -> Decoded:
    """Decodes a file to its true end, whatever it promises, block by block, whatever its samples are.

    Reads what libsndfile reads (WAV, RF64, W64, FLAC, OGG Vorbis and Opus, MP3, AIFF, AU, CAF, ...) at any rate and
    channel count, and with the extra `codecs` what FFmpeg reads. Parts of another rate (chained Ogg, joined MP3) get
    the rate of the first.

    Raises: AudioError when the file is missing, unreadable or empty.
    """
    path = Path(path)
    with _opened(path) as source:
        try:
            layout = look(source)
        except Foreign as err:
            return _by_ffmpeg(path, err)
        found = [_decode(path, source, part, layout) for part in layout.parts]
    sounds = [each for each in found if len(each.waveform)]
    if not sounds:
        raise _empty(path, next((each.ending for each in found if each.ending), ""))
    decoded = sounds[0] if len(sounds) == 1 else _joined(sounds)
    silent = [each.ending for each in found if each.ending and not len(each.waveform)]
    if silent and not decoded.ending:
        decoded = replace(decoded, promised_count=None, ending=silent[0])
    return replace(decoded, remarks=(*layout.remarks, *decoded.remarks), mended=any(each.mended for each in sounds))


def load_audio(path: Path | str, sample_rate_hz: int, on_flaw: OnFlaw = log_flaw) -> NDArray[np.float32]:
    """The file's waveform `[samples]`, float32, the mean of its channels, resampled to `sample_rate_hz`.

    `on_flaw` is told when it breaks off, and what else is odd with it.

    Raises: AudioError when the file is missing, unreadable, empty, or holds NaN or infinite samples.
    """
    path, decoded = Path(path), decode_audio(path)
    waveform = decoded.at(path, sample_rate_hz)
    for flaw in decoded.flaws(path):
        on_flaw(flaw)
    return waveform


def check_audio(path: Path) -> None:
    """Looks at the beginning of the file without decoding it.

    Raises: AudioError when the file is missing, is no audio, or says that it holds no samples.
    """
    with _opened(path) as source:
        try:
            layout = look(source, CHECKED_BYTES)
        except Foreign as err:
            if not (err.is_sound and ffmpeg.is_there()):
                raise _foreign(path, err) from err
            return
        failures = list[AudioError]()
        for part in layout.parts:
            try:
                file, _ = _sound_file(path, source, part)
            except AudioError as err:
                failures.append(err)
                continue
            with file:
                if file.frames:
                    return
        raise next(iter(failures), _empty(path))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open. Raises: AudioError when it is none, or cannot be read."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
            raise AudioError(f"{path}: is {what}; give an audio file")
        with path.open("rb") as source:
            yield source
    except FileNotFoundError as err:
        if path.is_symlink():
            raise AudioError(f"{path}: is a link to a file that is not there; mend or delete it") from err
        raise AudioError(f"{path}: no such audio file; check the path") from err
    except OSError as err:
        raise AudioError(f"{path}: cannot be read ({err.strerror})") from err


def _sound_file(path: Path, source: BinaryIO, part: Part) -> "tuple[soundfile.SoundFile, bool]":
    """A part, open in libsndfile, and whether it was mended. Raises: AudioError when libsndfile cannot open it."""
    import soundfile

    try:
        if not part.pieces or part.as_it_is:
            file = soundfile.SoundFile(path)
            if file.frames >= part.least_count:
                return file, False
            file.close()
        return soundfile.SoundFile(View(source, part.pieces, endless=part.endless)), True
    except soundfile.LibsndfileError as err:
        reason = "; ".join(each for each in (part.ending, err.error_string) if each)
        raise _unreadable(path, reason if part.known else "no format of sound that is known") from err


def _decode(path: Path, source: BinaryIO, part: Part, layout: Layout) -> Decoded:
    """One part; of several, one that cannot be decoded is empty."""
    try:
        file, mended = _sound_file(path, source, part)
    except AudioError as err:
        if len(layout.parts) == 1:
            raise
        return Decoded(np.empty(0, np.float32), 1, None, 1, str(err).removeprefix(f"{path}: "))
    with file:
        waveform, failure = _samples(file)
        count, promised = len(waveform), max(len(waveform), part.promised_count or 0)
        if part.held_share < 1:
            promised = round(count / part.held_share) if part.held_share > 0 else 0
        unknown = (part.ending or failure) and promised <= count
        doubt = f"may be cut off after {count / file.samplerate:.2f} s: {part.doubt}" if part.doubt else ""
        return Decoded(
            waveform,
            int(file.samplerate),
            None if unknown else promised,
            int(file.channels),
            failure or part.ending,
            (doubt,) if doubt and promised <= count else (),
            mended,
        )


def _samples(file: "soundfile.SoundFile") -> tuple[NDArray[np.float32], str]:
    """The mean of the channels up to where the decoder gives up, and why if that is not the end."""
    import soundfile

    blocks, failure = list[NDArray[np.float32]](), ""
    buffer = np.empty((BLOCK_SAMPLES, file.channels), np.float32)
    while not failure:
        buffer.fill(np.nan)  # what a decoder that fails has not written
        try:
            block = file.read(out=buffer)
        except soundfile.LibsndfileError as err:
            # What soundfile itself cannot do at an end that comes too early says nothing.
            failure = "its decoder stops" if "psf_fseek" in err.error_string else err.error_string.strip(" .")
            failure = failure.removeprefix("Error : ")
            written = ~np.isnan(buffer[:, 0])
            block = buffer[: BLOCK_SAMPLES - int(written[::-1].argmax()) if written.any() else 0]
        if not len(block):
            break
        blocks.append(block.mean(axis=1, dtype=np.float32))
    return (np.concatenate(blocks) if blocks else np.empty(0, np.float32)), failure


def _joined(parts: list[Decoded]) -> Decoded:
    """Parts after one another, at the rate of the first."""
    rate_hz = parts[0].sample_rate_hz
    waveforms = [resample(each.waveform, each.sample_rate_hz, rate_hz) for each in parts]
    promised: int | None = 0
    for waveform, each in zip(waveforms, parts, strict=True):
        missing = None if each.promised_seconds is None else round((each.promised_seconds - each.seconds) * rate_hz)
        promised = None if promised is None or missing is None else promised + len(waveform) + missing
    remarks = tuple(remark for each in parts for remark in each.remarks)
    ending = next((each.ending for each in parts if each.ending), "")
    channel_count = max(each.channel_count for each in parts)
    return Decoded(np.concatenate(waveforms), rate_hz, promised, channel_count, ending, remarks, True)


def _by_ffmpeg(path: Path, foreign: Foreign) -> Decoded:
    """What libsndfile does not decode. Raises: AudioError when FFmpeg is not there, or does not either."""
    if not (foreign.is_sound and ffmpeg.is_there()):
        raise _foreign(path, foreign)
    blocks = list[NDArray[np.float32]]()
    try:
        rate_hz, channels, seconds, ending = ffmpeg.decode(
            path, lambda block: blocks.append(block.mean(axis=1, dtype=np.float32))
        )
    except ValueError as err:
        raise _unreadable(path, f"{foreign}; {err}") from err
    if not sum(map(len, blocks)):
        raise _empty(path, ending)
    waveform = np.concatenate(blocks)
    promised = round(seconds * rate_hz) if seconds is not None else len(waveform)
    if promised - len(waveform) < rate_hz / 10:  # encoders count the samples that they add
        promised = len(waveform)
    return Decoded(waveform, rate_hz, None if ending and promised == len(waveform) else promised, channels, ending)


def _foreign(path: Path, foreign: Foreign) -> AudioError:
    if foreign.is_sound and not ffmpeg.is_there():
        way_out = f"{_WAY_OUT}, or install earwitness[{ffmpeg.EXTRA}], which decodes it"
        return AudioError(
            f"{path}: cannot be read as audio (it is {foreign}, which libsndfile does not decode); {way_out}"
        )
    return _unreadable(path, f"it is {foreign}")


def _unreadable(path: Path, reason: str) -> AudioError:
    return AudioError(f"{path}: cannot be read as audio ({reason.rstrip('.')}); {_WAY_OUT}")


def _empty(path: Path, reason: str = "") -> AudioError:
    why = f" ({reason})" if reason else ""
    return AudioError(f"{path}: holds no samples{why}; give a recording that is not empty")
