"""What a policy achieves: rates with intervals, paired comparisons, tables."""

from copilot.evaluation.statistics import PairedLift, Rate, paired_lift, wilson
from copilot.evaluation.summary import compare, summarize, summarize_by

__all__ = ["PairedLift", "Rate", "compare", "paired_lift", "summarize", "summarize_by", "wilson"]
