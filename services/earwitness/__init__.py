"""Earwitness: hear what an audio network listens for, and know how far to trust what you hear."""

__version__ = "0.1.0"
