"""Alembic's entry."""

from earwitness.storage.migration import run_steps

run_steps()
