"""Sound files as others leave them: cut off, joined, streamed, without a length. All are three seconds of one tone."""

import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.features.files.ogg import page_checksum

RATE_HZ = 16_000
COUNT = 3 * RATE_HZ
MP3_RATE_HZ = 44_100
_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


def tone(count: int = COUNT, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """A tone in noise `[count]`, whose loudness rises, so that no part of it is like another."""
    times_s = np.arange(count) / rate_hz
    noise = 0.05 * np.random.default_rng(0).normal(size=count)
    return ((0.1 + 0.1 * times_s) * np.sin(2 * np.pi * 440 * times_s) + noise).astype(np.float32)


def written(path: Path, *, rate_hz: int = RATE_HZ, samples: NDArray[np.float32] | None = None, **options: str) -> bytes:
    """The bytes of a whole file of the format that its name, or `options`, tell."""
    sound = tone(3 * rate_hz, rate_hz) if samples is None else samples
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    with soundfile.SoundFile(path, "w", rate_hz, channels, **options) as file:
        for start in range(0, len(sound), 8_192):  # libsndfile's Vorbis encoder overflows its stack on long writes
            file.write(sound[start : start + 8_192])
    return path.read_bytes()


def vbr_mp3(path: Path) -> bytes:
    """An MP3 whose first frames are far larger than the others, with its Xing frame."""
    quiet = 1e-4 * tone(3 * MP3_RATE_HZ, MP3_RATE_HZ)
    quiet[:8_000] = np.random.default_rng(1).uniform(-0.9, 0.9, 8_000)
    with soundfile.SoundFile(
        path, "w", MP3_RATE_HZ, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.0
    ) as file:
        file.write(quiet)
    return path.read_bytes()


def mp3_frames(content: bytes) -> list[bytes]:
    """The frames of an MP3 of MPEG 1 without tags, the one with the Xing header first."""
    frames, at = [], 0
    while at + 4 <= len(content):
        length = 144_000 * _KBPS[content[at + 2] >> 4] // MP3_RATE_HZ + (content[at + 2] >> 1 & 1)
        frames.append(content[at : at + length])
        at += length
    return frames


def with_xing_count(content: bytes, count: int) -> bytes:
    """An MP3 whose Xing frame tells `count` frames."""
    at = content.index(b"Xing") + 8
    return content[:at] + count.to_bytes(4, "big") + content[at + 4 :]


def ogg_pages(content: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    pages, at = [], 0
    while at < len(content):
        segments = content[at + 26]
        length = 27 + segments + sum(content[at + 27 : at + 27 + segments])
        pages.append(content[at : at + length])
        at += length
    return pages


def ogg_flac(flac: bytes, serial: int) -> bytes:
    """FLAC in Ogg: its head in the first packet, each metadata block in one of its own, the frames after them."""
    blocks, at, last = [flac[4:42]], 42, flac[4] & 0x80
    while not last:
        length = 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
        last = flac[at] & 0x80
        blocks.append(flac[at : at + length])
        at += length
    head = b"\x7fFLAC\x01\x00" + (len(blocks) - 1).to_bytes(2, "big") + b"fLaC" + blocks[0]
    bodies = [head, *blocks[1:], *(flac[start : start + 5_000] for start in range(at, len(flac), 5_000))]
    return b"".join(_page(body, serial, number, len(bodies)) for number, body in enumerate(bodies))


def _page(body: bytes, serial: int, number: int, count: int) -> bytes:
    lacing = bytes([255] * (len(body) // 255) + [len(body) % 255])
    flags = (2 if number == 0 else 0) | (4 if number == count - 1 else 0)
    head = b"OggS\x00" + bytes([flags]) + struct.pack("<qII", 0, serial, number)
    rest = bytes([len(lacing)]) + lacing + body
    return head + struct.pack("<I", page_checksum(head + bytes(4) + rest)) + rest
