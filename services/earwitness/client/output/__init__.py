"""The output folder of a search: arrays, sounds, pictures, tables, and a page that shows and plays all of it."""

from earwitness.client.output.directory import check_free, new_directory
from earwitness.client.output.folder import RUN_MARKS, write_run
from earwitness.client.output.page import write_index
from earwitness.client.output.run import Run, Scoring

__all__ = ["RUN_MARKS", "Run", "Scoring", "check_free", "new_directory", "write_index", "write_run"]
