"""Table 2 of arXiv 2506.04405: what its environment holds, for comparison with what is here."""

from typing import NamedTuple


class PaperRow(NamedTuple):
    """A data set of the paper."""

    name: str
    """As in the table."""
    categories: int
    """Categories it counts."""
    instances: int
    """Training and test instances together."""
    in_distribution: bool
    """Whether the paper trains on it."""


TABLE_2 = (
    PaperRow("MIMIC-III", 9, 10_440, True),
    PaperRow("eICU", 9, 6_824, True),
    PaperRow("TREQS", 4, 9_984, True),
    PaperRow("MedCalcBench", 55, 11_100, True),
    PaperRow("MedAgentBench", 10, 542, True),
    PaperRow("BioCoder", 8, 1_138, True),
    PaperRow("EHRSHOT", 15, 15, True),
    PaperRow("BioDSBench", 12, 99, True),
    PaperRow("EHR-SeqSQL", 4, 26_863, False),
    PaperRow("EHRCon", 3, 4_205, False),
    PaperRow("MIMIC-Extract", 3, 3, False),
    PaperRow("N-PowerAI", 6, 1_200, False),
)
"""The twelve sources."""

INSTANCES, CATEGORIES = 72_413, 129
"""The paper's totals; the nine EHRSQL categories of MIMIC-III and eICU count once."""
