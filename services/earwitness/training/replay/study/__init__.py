"""The paper's table as one command: trains the networks, evaluates them, says what the gap from dev to eval does."""

from earwitness.training.replay.study.config import StudyConfig
from earwitness.training.replay.study.results import Study
from earwitness.training.replay.study.run import run_study
from earwitness.training.replay.study.writing import document, write_study

__all__ = ["Study", "StudyConfig", "document", "run_study", "write_study"]
