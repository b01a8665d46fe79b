"""Audio in, spectrograms out, and back: versioned feature profiles, loading and inversion. Needs no torch."""

from earwitness.features.audio import AudioError, Decoded, Flaw, OnFlaw, log_flaw, resample, write_wav
from earwitness.features.constant_q import ConstantQProfile
from earwitness.features.decoding import check_audio, decode_audio, load_audio
from earwitness.features.inversion import InvertedAudio
from earwitness.features.log_mel import LogMelProfile
from earwitness.features.mel import MelProfile
from earwitness.features.parameters import FeatureError
from earwitness.features.picture import render_picture
from earwitness.features.power import PowerProfile
from earwitness.features.profile import (
    PROFILES,
    FeatureProfile,
    get_profile,
    profile_from_dict,
    with_excerpt_frames,
)
from earwitness.features.recordings import AUDIO_SUFFIXES, find_audio, usable, visible_files
from earwitness.features.sound import AUDIO_SEED, Audio, render_audio
from earwitness.features.utterances import cut_or_repeat, recording_excerpts, utterance_spectrogram
from earwitness.features.waveform import WaveformProfile

__all__ = [
    "AUDIO_SEED",
    "AUDIO_SUFFIXES",
    "PROFILES",
    "Audio",
    "AudioError",
    "ConstantQProfile",
    "Decoded",
    "FeatureError",
    "FeatureProfile",
    "Flaw",
    "InvertedAudio",
    "LogMelProfile",
    "MelProfile",
    "OnFlaw",
    "PowerProfile",
    "WaveformProfile",
    "check_audio",
    "cut_or_repeat",
    "decode_audio",
    "find_audio",
    "get_profile",
    "load_audio",
    "log_flaw",
    "profile_from_dict",
    "recording_excerpts",
    "render_audio",
    "render_picture",
    "resample",
    "usable",
    "utterance_spectrogram",
    "visible_files",
    "with_excerpt_frames",
    "write_wav",
]
