"""The atlas: what every unit of some layers listens for, with real excerpts, and how far to trust each."""

from earwitness.atlas.making import make_atlas
from earwitness.atlas.place import Place
from earwitness.atlas.values import Atlas, Request, UnitKey

__all__ = ["Atlas", "Place", "Request", "UnitKey", "make_atlas"]
