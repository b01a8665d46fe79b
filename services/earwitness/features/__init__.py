"""Audio in, spectrograms out, and back: versioned feature profiles, loading and inversion. Needs no torch."""

from earwitness.features.audio import AudioError, check_audio, load_audio, write_wav
from earwitness.features.inversion import InvertedAudio
from earwitness.features.mel import MelProfile
from earwitness.features.picture import render_picture
from earwitness.features.profile import PROFILES, FeatureProfile, LogMelProfile, get_profile, profile_from_dict

__all__ = [
    "PROFILES",
    "AudioError",
    "FeatureProfile",
    "InvertedAudio",
    "LogMelProfile",
    "MelProfile",
    "check_audio",
    "get_profile",
    "load_audio",
    "profile_from_dict",
    "render_picture",
    "write_wav",
]
