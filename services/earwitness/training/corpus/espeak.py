"""Speech from espeak-ng through its C library, as raw material for the WORLD singer and for replayed speakers.

espeak-ng keeps hidden state between utterances, so equal requests differ unless each runs in a process that has said
nothing before. The builds see to that; `speak` only refuses to be called twice.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument

AUDIO_OUTPUT_SYNCHRONOUS = 2
PARAMETER_RATE, PARAMETER_PITCH_RANGE = 1, 4
CHARS_UTF8 = 1
NOISE_SEED = 1

_spoken = False


def speak(
    voice: str, texts: Sequence[str], words_per_minute: int, pitch_range: int = 0
) -> tuple[list[NDArray[np.float64]], int]:
    """Each text in `voice` (`language+variant`): waveforms `[samples]` in [-1, 1] and their rate in Hz.

    Once per process. `pitch_range` is espeak-ng's, from 0 (flat) to 100; 50 is how it speaks by itself.

    Raises: InvalidArgument when espeak-ng does not know the voice, RuntimeError when it fails or has spoken before.
    """
    global _spoken
    import espeakng_loader

    if _spoken:
        raise RuntimeError("espeak-ng has spoken in this process; start a fresh one, its output depends on the past")
    _spoken = True
    library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
    rate_hz = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate_hz <= 0:
        raise RuntimeError(f"espeak-ng cannot read its data in {espeakng_loader.get_data_path()}")
    # Breathy variants draw noise from a generator that espeak-ng has just seeded with the time of day.
    library.espeak_ng_SetRandSeed(ctypes.c_long(NOISE_SEED))
    blocks: list[NDArray[np.int16]] = []

    def collect(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = callback_type(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise InvalidArgument("voice", f"espeak-ng has no voice {voice!r}")
    library.espeak_SetParameter(PARAMETER_RATE, words_per_minute, 0)
    library.espeak_SetParameter(PARAMETER_PITCH_RANGE, pitch_range, 0)
    said = []
    for text in texts:
        blocks.clear()
        encoded = text.encode()
        library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, CHARS_UTF8, None, None)
        if not blocks:
            raise RuntimeError(f"espeak-ng said nothing in voice {voice!r}")
        said.append(np.concatenate(blocks).astype(np.float64) / 32768)
    return said, rate_hz
