"""Sound files are decoded to their true end, whatever they promise, and those that break off say so."""

import errno
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.features import AudioError, check_audio, decode_audio, find_audio, resample, usable
from earwitness.features.files import ffmpeg
from tests.helpers.odd_audio import (
    COUNT,
    MP3_RATE_HZ,
    RATE_HZ,
    mp3_frames,
    ogg_flac,
    ogg_pages,
    tone,
    vbr_mp3,
    with_xing_count,
    written,
)

DATA = Path(__file__).parent / "data"
ENCODER_DELAY = 1105
"""Samples that LAME puts before an MP3, and decoders drop again where they are told of."""


def decoded(path, content):
    path.write_bytes(content)
    check_audio(path)
    return decode_audio(path)


def whole(path, content, count=COUNT):
    """What a file decodes to, which tells nothing amiss."""
    found = decoded(path, content)
    assert (len(found.waveform), found.breaks_off, found.remarks) == (count, "", ())
    assert found.promised_count == count
    return found


@pytest.fixture
def wav(tmp_path):
    return written(tmp_path / "whole.wav", subtype="PCM_16")


@pytest.fixture
def samples(tmp_path, wav):
    return decode_audio(tmp_path / "whole.wav").waveform


def test_an_mp3_without_a_count_is_not_what_its_first_frame_lets_guess(tmp_path):
    content = vbr_mp3(tmp_path / "whole.mp3")
    frames = mp3_frames(content)[1:]
    with soundfile.SoundFile(tmp_path / "whole.mp3") as file:
        right = file.read(dtype="float32")
    found = whole(tmp_path / "a.mp3", b"".join(frames), 1152 * len(frames))
    with soundfile.SoundFile(tmp_path / "a.mp3") as file:
        assert file.frames < len(found.waveform) / 2  # what libsndfile makes of it
    np.testing.assert_allclose(found.waveform[ENCODER_DELAY:][: len(right)], right, atol=1e-6)
    assert found.mended


def test_joined_mp3s_are_as_long_as_all_of_them(tmp_path):
    content = written(tmp_path / "whole.mp3", rate_hz=MP3_RATE_HZ)
    one = decode_audio(tmp_path / "whole.mp3").waveform
    tag = b"ID3\x04\0\0\0\0\x10\0" + bytes(2_048)
    found = whole(tmp_path / "a.mp3", tag + content + tag + content + b"TAG" + bytes(125), 2 * len(one))
    np.testing.assert_array_equal(found.waveform, np.tile(one, 2))
    other = written(tmp_path / "other.mp3")
    found = whole(tmp_path / "a.mp3", content + other, 2 * len(one))  # at the rate of the first
    np.testing.assert_array_equal(
        found.waveform[len(one) :], resample(decode_audio(tmp_path / "other.mp3").waveform, RATE_HZ, MP3_RATE_HZ)
    )


def test_a_wrong_count_in_an_mp3_cuts_nothing(tmp_path):
    content = written(tmp_path / "whole.mp3", rate_hz=MP3_RATE_HZ)
    right, frames = decode_audio(tmp_path / "whole.mp3").waveform, mp3_frames(content)[1:]
    found = whole(tmp_path / "a.mp3", with_xing_count(content, len(frames) // 3), 1152 * len(frames) - ENCODER_DELAY)
    np.testing.assert_array_equal(found.waveform[: len(right)], right)
    found = decoded(tmp_path / "a.mp3", with_xing_count(content, 2 * len(frames)))
    assert found.breaks_off == "breaks off after 3.01 of the 6.03 s that its header tells"
    vbri = frames[0][:36] + b"VBRI" + bytes(10) + len(frames).to_bytes(4, "big")
    vbri += bytes(len(frames[0]) - len(vbri))
    found = whole(tmp_path / "a.mp3", vbri + b"".join(frames), 1152 * len(frames))
    np.testing.assert_array_equal(found.waveform, decoded(tmp_path / "b.mp3", b"".join(frames)).waveform)


def test_junk_between_the_frames_of_an_mp3_ends_nothing(tmp_path):
    frames = mp3_frames(written(tmp_path / "whole.mp3", rate_hz=MP3_RATE_HZ))
    content = b"".join(frames[:40]) + bytes(range(1, 251)) * 12 + b"".join(frames[40:])
    found = decoded(tmp_path / "a.mp3", content)
    assert (len(found.waveform), found.breaks_off) == (3 * MP3_RATE_HZ, "")
    assert found.remarks == ("3000 bytes between its frames are no sound, and passed over",)


def test_a_cut_mp3_tells_how_much_is_missing_or_that_something_may_be(tmp_path):
    content = written(tmp_path / "whole.mp3", rate_hz=MP3_RATE_HZ)
    right, frames = decode_audio(tmp_path / "whole.mp3").waveform, mp3_frames(content)
    found = decoded(tmp_path / "a.mp3", content[: len(content) // 2])
    assert found.promised_count == len(right)
    np.testing.assert_array_equal(found.waveform, right[: len(found.waveform)])
    assert found.breaks_off == f"breaks off after {found.seconds:.2f} of the 3.00 s that its header tells"
    for missing in (100, len(frames[-1]) - 2):
        found = decoded(tmp_path / "a.mp3", b"".join(frames[1:])[:-missing])
        assert (len(found.waveform), found.breaks_off) == (1152 * (len(frames) - 2), "")
        assert found.remarks == (f"may be cut off after {found.seconds:.2f} s: its last frame is incomplete",)
    found = decoded(tmp_path / "a.mp3", content + frames[0][:60])
    assert (len(found.waveform), found.remarks) == (
        len(right), ("may be cut off: a part of it has a head and no sound",),
    )  # fmt: skip


def test_frames_in_a_wav_and_of_layer_2_are_counted_too(tmp_path):
    frames = mp3_frames(vbr_mp3(tmp_path / "whole.mp3"))[1:]
    content = b"".join(frames)
    form = struct.pack("<IHHIIHHHHIHHH", 30, 0x55, 1, MP3_RATE_HZ, 8_000, 1, 0, 12, 1, 2, 1152, 1, 0)
    riff = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(content)) + content
    whole(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", len(riff)) + riff, 1152 * len(frames))
    # Layer II at 32 kbit/s and 48 kHz: frames of silence, of 96 bytes.
    assert len(decoded(tmp_path / "a.mp2", (b"\xff\xfd\x14\xc0" + bytes(92)) * 50).waveform) == 50 * 1152


def test_every_link_of_a_chained_ogg_is_decoded(tmp_path):
    opus = written(tmp_path / "a.opus", format="OGG", subtype="OPUS")
    stereo = np.stack([tone(3 * MP3_RATE_HZ, MP3_RATE_HZ)] * 2, axis=1)
    vorbis = written(tmp_path / "b.ogg", rate_hz=MP3_RATE_HZ, samples=stereo, subtype="VORBIS")
    first, second = (decode_audio(tmp_path / name) for name in ("a.opus", "b.ogg"))
    found = whole(tmp_path / "c.ogg", opus + vorbis, 2 * COUNT)
    assert (found.sample_rate_hz, found.channel_count) == (RATE_HZ, 2)
    np.testing.assert_array_equal(found.waveform[:COUNT], first.waveform)
    np.testing.assert_array_equal(found.waveform[COUNT:], resample(second.waveform, MP3_RATE_HZ, RATE_HZ))


def test_flac_in_ogg_is_decoded_chained_and_cut(tmp_path):
    flac = written(tmp_path / "a.flac")
    right = decode_audio(tmp_path / "a.flac").waveform
    found = whole(tmp_path / "a.ogg", ogg_flac(flac, 1) + ogg_flac(flac, 2), 2 * COUNT)
    np.testing.assert_array_equal(found.waveform, np.tile(right, 2))
    content = ogg_flac(flac, 1)
    found = decoded(tmp_path / "a.ogg", content[: len(content) // 2])
    assert found.breaks_off.startswith("breaks off after 1.")
    np.testing.assert_array_equal(found.waveform, right[: len(found.waveform)])


def test_of_sounds_beside_each_other_the_first_is_taken_and_the_others_are_told(tmp_path):
    one = ogg_pages(written(tmp_path / "a.opus", format="OGG", subtype="OPUS"))
    other = ogg_pages(written(tmp_path / "b.ogg", subtype="VORBIS"))
    content = b"".join([one[0], other[0], *one[1:3], *other[1:], *one[3:]])
    found = decoded(tmp_path / "c.ogg", content)
    np.testing.assert_array_equal(found.waveform, decode_audio(tmp_path / "a.opus").waveform)
    assert found.remarks == ("holds 2 sounds beside each other, of which the first is taken",)


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_a_cut_ogg_gives_what_is_complete_of_its_last_page(tmp_path, subtype):
    content = written(tmp_path / "a.ogg", subtype=subtype)
    right = decode_audio(tmp_path / "a.ogg").waveform
    found = decoded(tmp_path / "b.ogg", content[: len(content) * 3 // 4])
    assert 0.6 * COUNT < len(found.waveform) < 0.85 * COUNT
    np.testing.assert_array_equal(found.waveform, right[: len(found.waveform)])
    assert found.promised_count is None
    assert found.breaks_off == f"breaks off after {found.seconds:.2f} s: its last page is incomplete"
    found = decoded(tmp_path / "b.ogg", b"".join(ogg_pages(content)[:-1]))
    assert found.remarks == (f"may be cut off after {found.seconds:.2f} s: its end mark is missing",)


def unsized(content, name, size, unknown):
    """A file whose data chunk of that name tells an unknown length."""
    at = content.index(name) + len(name)
    return content[:at] + unknown + content[at + size :]


def test_sound_behind_a_length_that_is_not_told_is_decoded(tmp_path, wav, samples):
    texts = b"LIST" + struct.pack("<I", 12) + b"INFOISFT\0\0\0\0"
    rf64 = written(tmp_path / "rf64.wav", format="RF64", subtype="PCM_16")
    at = rf64.index(b"ds64") + 16
    caf = written(tmp_path / "a.caf", subtype="PCM_16")
    w64 = written(tmp_path / "a.w64", subtype="PCM_16")
    w64_data = w64.index(b"data\xf3\xac\xd3\x11") + 16
    au = written(tmp_path / "a.au", subtype="PCM_16")
    for name, content in {
        "size 0.wav": unsized(wav, b"data", 4, bytes(4)),
        "size 0 and texts.wav": unsized(wav, b"data", 4, bytes(4)) + texts,
        "all ones.wav": unsized(wav, b"data", 4, b"\xff" * 4),
        "texts behind.wav": wav + texts,
        "rf64.wav": rf64,
        "bw64.wav": b"BW64" + rf64[4:],
        "rf64 of 0.wav": rf64[:at] + bytes(8) + rf64[at + 8 :],
        "minus one.caf": unsized(caf, b"data", 8, b"\xff" * 8),
        "minus one.w64": w64[:w64_data] + b"\xff" * 8 + w64[w64_data + 8 :],
        "zero.au": au[:8] + bytes(4) + au[12:],
        "minus one.au": au[:8] + b"\xff" * 4 + au[12:],
    }.items():
        np.testing.assert_array_equal(whole(tmp_path / name, content).waveform, samples, err_msg=name)


def test_a_length_that_tells_too_little_is_no_end(tmp_path, wav, samples):
    found = decoded(tmp_path / "a.wav", unsized(wav, b"data", 4, struct.pack("<I", 32_000)))
    np.testing.assert_array_equal(found.waveform, samples)
    assert found.remarks == ("its header tells 32000 bytes of sound, 96000 follow and are used",)
    for after in (b"ID3\x04" + bytes(3_000), bytes(4_096), b"TAG" + b"x" * 2_000):  # tags and padding are no sound
        assert len(whole(tmp_path / "a.wav", wav + after).waveform) == COUNT
    found = decoded(tmp_path / "a.wav", wav + b"junk" * 500)
    assert (len(found.waveform), len(found.remarks)) == (COUNT, 1)


def test_flac_without_a_count_or_with_one_that_is_too_small_is_decoded_to_its_last_frame(tmp_path):
    content = written(tmp_path / "a.flac")
    right = decode_audio(tmp_path / "a.flac").waveform
    for total in (0, 20_000):
        mended = content[:22] + total.to_bytes(4, "big") + content[26:]
        np.testing.assert_array_equal(whole(tmp_path / "b.flac", mended).waveform, right)
    np.testing.assert_array_equal(whole(tmp_path / "b.flac", content * 2, 2 * COUNT).waveform, np.tile(right, 2))
    found = decoded(tmp_path / "b.flac", content[:22] + bytes(4) + content[26 : len(content) // 2])
    assert 0.3 < found.seconds < 1.6
    assert found.breaks_off
    np.testing.assert_array_equal(found.waveform, right[: len(found.waveform)])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "DOUBLE"}),
        ("a.wav", {"format": "WAVEX", "subtype": "PCM_24"}),
        ("a.wav", {"format": "RF64", "subtype": "PCM_16"}),
        ("a.w64", {"subtype": "PCM_16"}),
        ("a.aiff", {"subtype": "PCM_16"}),
        ("a.au", {"subtype": "FLOAT"}),
        ("a.caf", {"subtype": "PCM_16"}),
        ("a.flac", {}),
    ],
)
def test_a_file_that_breaks_off_says_how_much_is_there_and_was_promised(tmp_path, name, options):
    content = written(tmp_path / name, **options)
    right = decode_audio(tmp_path / name).waveform
    found = decoded(tmp_path / f"cut{name}", content[: len(content) // 2 + 1])
    assert found.promised_count == COUNT
    assert (0.35 if name == "a.flac" else 0.47) * COUNT < len(found.waveform) < 0.51 * COUNT
    np.testing.assert_array_equal(found.waveform, right[: len(found.waveform)])
    assert f"breaks off after {found.seconds:.2f} of the 3.00 s that its header tells" in found.breaks_off
    assert [flaw.kind for flaw in found.flaws(tmp_path)] == ["cut-off"]


def test_a_few_missing_samples_are_told_as_such(tmp_path, wav):
    found = decoded(tmp_path / "a.wav", wav[:-24])
    assert found.breaks_off == "breaks off 12 samples before the 3.00 s that its header tells"
    found = decoded(tmp_path / "a.wav", unsized(wav, b"data", 4, b"\xff" * 4)[:-1])
    assert found.remarks == ("may be cut off after 3.00 s: it ends in the middle of a sample",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (bytes(9_000), "it is nothing but zeros"),
        (b"track 1\n" * 9, "it is text"),
        (b"<!DOCTYPE html>\n<html><body>404", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(128)) * 9, "no format of sound that is known"),
        (b"\0\0\0\x18ftypM4A " + bytes(99), r"it is AAC or ALAC in MP4 .*install earwitness\[codecs\]"),
        (b"\xff\xf1\x50\x80" + bytes(99), "it is AAC, which libsndfile does not decode"),
        (bytes.fromhex("3026b2758e66cf11") + bytes(99), "it is Windows Media"),
        (b"\x1a\x45\xdf\xa3" + bytes(99), "it is Matroska"),
        (b"fLaC\0\0\0\x22" + bytes(34), "it ends before its first sound"),
    ],
)
def test_the_true_reason_is_told(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(ffmpeg, "is_there", lambda: False)
    (tmp_path / "a.wav").write_bytes(content)
    for read in (decode_audio, check_audio):
        with pytest.raises(AudioError, match=rf"a\.wav: cannot be read as audio \(.*{reason}"):
            read(tmp_path / "a.wav")


def test_what_is_no_file_is_told_as_such(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, reason in {
        "folder.wav": "is a folder",
        "gone.wav": "is a link to a file that is not there",
        "loop.wav": "cannot be read",
        "pipe.wav": "is no regular file",
        "never.wav": "no such audio file",
    }.items():
        with pytest.raises(AudioError, match=rf"{name}: {reason}"):
            decode_audio(tmp_path / name)


def test_folders_are_searched_links_followed_once_and_what_is_no_file_named(tmp_path, wav):
    music = tmp_path / "music"
    for name in ("b.wav", "a.WAV", "deep/er/c.w64", "x.wav/d.au", ".hidden/e.wav", "._f.wav", "notes.txt", "g.m4a"):
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        (music / name).write_bytes(wav)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "h.wav").write_bytes(wav)
    (music / "linked").symlink_to(tmp_path / "elsewhere")
    (music / "deep" / "back").symlink_to(music)
    (music / "gone.flac").symlink_to(tmp_path / "nowhere.flac")
    flaws = []
    found = find_audio([music, music / "notes.txt"], flaws.append)
    names = [path.relative_to(music).as_posix() for path in found]
    assert names == ["a.WAV", "b.wav", "deep/er/c.w64", "g.m4a", "linked/h.wav", "x.wav/d.au", "notes.txt"]
    assert [str(flaw) for flaw in flaws] == [
        f"{music / 'gone.flac'}: is a link to a file that is not there; mend or delete it"
    ]


def test_what_cannot_be_used_is_told_and_fails_only_where_nothing_is_left(tmp_path, wav, caplog):
    good, cut, text = (tmp_path / name for name in ("good.wav", "cut.wav", "text.wav"))
    good.write_bytes(wav)
    cut.write_bytes(wav[:50_000])
    text.write_text("no sound")
    flaws = []
    assert usable([text, good, cut], flaws.append) == [good, cut]
    assert [(flaw.path, flaw.kind) for flaw in flaws] == [(text, "left-out")]
    usable([text, good])
    assert f"left out: {text}: cannot be read as audio (it is text)" in caplog.text  # where nobody listens
    with pytest.raises(AudioError, match=r"text\.wav: cannot be read as audio"):
        usable([text], flaws.append)
    with pytest.raises(AudioError, match=r"--strict: .*text\.wav: cannot be read.*cut\.wav: breaks off after 1\.56 of"):
        usable([text, good, cut], flaws.append, strict=True)
    assert usable([good], flaws.append, strict=True) == [good]


def test_a_file_that_may_not_be_read_says_so(tmp_path, wav, monkeypatch):
    def refuse(path, mode):  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    (tmp_path / "a.wav").write_bytes(wav)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read \(Permission denied\)"):
        decode_audio(tmp_path / "a.wav")


def test_aac_is_decoded_by_ffmpeg():
    found = decode_audio(DATA / "tone.m4a")
    assert (found.sample_rate_hz, found.breaks_off) == (16_000, "")
    assert found.seconds == pytest.approx(0.5, abs=0.1)
    spectrum = np.abs(np.fft.rfft(found.waveform[1_024:7_168]))
    assert np.argmax(spectrum) * 16_000 / 6_144 == pytest.approx(440, abs=3)
