"""What becomes of the models in a folder: which compile, whether their results are those of other interpreters, what they take, and why the
others are refused."""

from .folder import Survey, survey
from .one import SAMPLES, Outcome

__all__ = ["SAMPLES", "Outcome", "Survey", "survey"]
