"""Audio in, spectrograms out, and back: versioned feature profiles, loading and inversion. Needs no torch."""

from earwitness.features.audio import AudioError, Decoded, check_audio, decode_audio, load_audio, resample, write_wav
from earwitness.features.constant_q import ConstantQProfile
from earwitness.features.inversion import InvertedAudio
from earwitness.features.mel import MelProfile
from earwitness.features.picture import render_picture
from earwitness.features.power import PowerProfile
from earwitness.features.profile import (
    PROFILES,
    FeatureProfile,
    LogMelProfile,
    get_profile,
    profile_from_dict,
    with_excerpt_frames,
)
from earwitness.features.sound import AUDIO_SEED, Audio, render_audio
from earwitness.features.utterances import cut_or_repeat, recording_excerpts, utterance_spectrogram

__all__ = [
    "AUDIO_SEED",
    "PROFILES",
    "Audio",
    "AudioError",
    "ConstantQProfile",
    "Decoded",
    "FeatureProfile",
    "InvertedAudio",
    "LogMelProfile",
    "MelProfile",
    "PowerProfile",
    "check_audio",
    "cut_or_repeat",
    "decode_audio",
    "get_profile",
    "load_audio",
    "profile_from_dict",
    "recording_excerpts",
    "render_audio",
    "render_picture",
    "resample",
    "utterance_spectrogram",
    "with_excerpt_frames",
    "write_wav",
]
