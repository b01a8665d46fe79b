#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2), Python 3.11+: a FLAC whose STREAMINFO has 0 for "total samples" gives nothing.
#
# RFC 9639 (8.2) lets an encoder that cannot seek back write 0 there: "unknown". One would guess that reading block by
# block goes to the end, or at worst that the length is wrong. In fact libsndfile decodes all of it into the buffer, and
# soundfile then throws it away: after a read it seeks to where it believes to be, which fails for such a file, and
# raises "Internal psf_fseek() failed." The samples are in the buffer given as `out`, whole and right; only their number
# is not told, so a buffer filled with NaN beforehand shows it. `frames` says 2**63 - 1.
#
# Seen: "read: Internal psf_fseek() failed." / "in the buffer: 48000 of 48000, the same: True".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import soundfile

folder = Path(sys.argv[1])
samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)
soundfile.write(folder / "whole.flac", samples, 16_000)
right, _ = soundfile.read(folder / "whole.flac", dtype="float32")

content = bytearray((folder / "whole.flac").read_bytes())
content[21] &= 0xF0  # the upper 4 of 36 bits of the total
content[22:26] = bytes(4)
(folder / "unknown.flac").write_bytes(content)

with soundfile.SoundFile(folder / "unknown.flac") as file:
    print(f"frames: {file.frames}")
    buffer = np.full(65_536, np.nan, np.float32)
    try:
        file.read(out=buffer)
    except soundfile.LibsndfileError as err:
        print(f"read: {err}")
    else:
        sys.exit("it reads such a file now")
count = int(np.isfinite(buffer).sum())
same = np.array_equal(buffer[:count], right)
print(f"in the buffer: {count} of {len(right)}, the same: {same}")
sys.exit(0 if count == len(right) and same else "the samples are no longer in the buffer")
PYTHON
