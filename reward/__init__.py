"""Typed answers and their graders: decide on the host, from JSON alone, whether an answer is right."""

from copilot.reward.answers import UNANSWERABLE, Answer, Grade
from copilot.reward.graders import grade

__all__ = ["UNANSWERABLE", "Answer", "Grade", "grade"]
