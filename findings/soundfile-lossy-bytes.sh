#!/usr/bin/env bash
# soundfile==0.14.0 (libsndfile 1.2.2), numpy==2.4.6: whether equal samples become equal files.
#
# Guess: a codec is a function, so each lossy format gives equal bytes for equal samples, as WAV and FLAC do.
# Behaviour: Ogg Vorbis and Opus differ from write to write, in one process and the same second: every Ogg stream gets a
# random serial number, which each page repeats and its checksum covers. With both set to zero the files are equal, so the
# sound is the same. MP3, which has no such number, gives equal bytes.
# Seen: equal for WAV, FLAC and MP3; not for Vorbis and Opus, but equal without the serial numbers. It shows where outputs
# are compared or cached by digest, or are to be the same after a kill and a second run: Ogg files never are.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'soundfile==0.14.0' 'numpy==2.4.6'
cat > "$folder/compare.py" <<'PY'
import io

import numpy as np
import soundfile

RATE = 48_000
seconds = np.arange(2 * RATE) / RATE
sound = (0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.01 * np.random.default_rng(0).standard_normal(len(seconds))).astype("f4")


def written(kind, subtype):
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format=kind, subtype=subtype)
    return file.getvalue()


def without_serials(data):
    """The bytes with the serial number and the checksum of every Ogg page set to zero."""
    found, at = bytearray(data), 0
    while (at := data.find(b"OggS", at)) >= 0:
        found[at + 14 : at + 18] = found[at + 22 : at + 26] = bytes(4)
        at += 27
    return bytes(found)


print(f"libsndfile {soundfile.__libsndfile_version__}")
wanted = {("WAV", "PCM_16"): True, ("FLAC", "PCM_16"): True, ("MP3", "MPEG_LAYER_III"): True}
wanted |= {("OGG", "VORBIS"): False, ("OGG", "OPUS"): False}
seen = {}
for kind in wanted:
    one, two = written(*kind), written(*kind)
    seen[kind] = one == two
    print(f"{' '.join(kind)}: equal bytes {one == two}, without serial numbers {without_serials(one) == without_serials(two)}")
    assert without_serials(one) == without_serials(two)
raise SystemExit(seen != wanted)
PY
"$folder/venv/bin/python" "$folder/compare.py"
