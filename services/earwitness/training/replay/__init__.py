"""Replay detection: utterances, their spectrograms, the windows that a network sees of them, and their scores."""
