"""Sound that libsndfile does not decode (AAC, ALAC, WMA, Matroska, …), by FFmpeg; needs the extra `codecs`."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

EXTRA = "codecs"


def is_there() -> bool:
    """Whether PyAV, which brings FFmpeg, is installed."""
    return find_spec("av") is not None


def decode(path: Path, keep: Callable[[Any], None]) -> tuple[int, int, float | None, str]:
    """Gives `keep` block after block `[samples, channels]`, float32, of the first sound.

    Returns its rate in Hz, its channels, how many seconds the file promises, if it does, and why it ends early, if so.

    Raises: ValueError when there is no sound that FFmpeg decodes.
    """
    import av

    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as err:
        raise ValueError(_words(err)) from err
    with container:
        if not container.streams.audio:
            raise ValueError("holds no sound")
        stream = container.streams.audio[0]
        ending, resampler, rate_hz, channels = "", None, 0, 0
        try:
            for frame in container.decode(stream):
                if resampler is None:  # what the first frame is decides, all others become
                    rate_hz, channels = frame.sample_rate, frame.layout.nb_channels
                    resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate_hz)
                for block in resampler.resample(frame):
                    keep(block.to_ndarray().T)
            for block in resampler.resample(None) if resampler is not None else ():
                keep(block.to_ndarray().T)
        except av.FFmpegError as err:
            ending = _words(err)
        return rate_hz, channels, _promised(container, stream), ending


def _promised(container: Any, stream: Any) -> float | None:
    """The seconds that the file tells; those that FFmpeg guesses by a bit rate are none."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and container.duration is not None:
        return float(container.duration) / 1e6  # in microseconds
    return None


def _words(err: Exception) -> str:
    return f"FFmpeg: {getattr(err, 'strerror', None) or err}"
