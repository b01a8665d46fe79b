"""The scorer's schema and the steps to it."""

from pathlib import Path

from earwitness.storage.migration import Schema

SCHEMA = Schema("earwitness.scorer", Path(__file__).parent / "migrations")
