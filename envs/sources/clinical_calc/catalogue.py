"""All calculators, by name, in two editions.

Invariant: the first edition never changes, neither its members nor their order, since the streams of ``train``,
``valid``, ``test_seen`` and ``test_unseen`` (and the frozen suite cut from them) are drawn over it. What is added goes
into the second; the ``_all`` splits draw over both.
"""

from copilot.envs.sources.clinical_calc import (
    bleeding,
    body,
    cardiac,
    critical,
    derived,
    doses,
    hepatic,
    infection,
    metabolic,
    obstetric,
    pulmonary,
    renal,
)
from copilot.envs.sources.clinical_calc.records import Calculator

FIRST = tuple(c for m in (body, renal, metabolic, cardiac, pulmonary, hepatic) for c in m.CALCULATORS)
"""The calculators of the first edition."""

SECOND = tuple(c for m in (derived, infection, bleeding, critical, obstetric, doses) for c in m.CALCULATORS)
"""Those added to cover MedCalc-Bench's 55."""

CALCULATORS: dict[str, Calculator] = {calculator.name: calculator for calculator in (*FIRST, *SECOND)}
"""Every calculator, held out or not, in a stable order."""

TRAINED = tuple(c for c in FIRST if not c.held_out)
"""Asked in ``train``, ``valid`` and ``test_seen``."""

HELD_OUT = tuple(c for c in FIRST if c.held_out)
"""Asked in ``test_unseen`` only, always with the formula stated."""

ALL_TRAINED = tuple(c for c in CALCULATORS.values() if not c.held_out)
"""Asked in ``train_all``, ``valid_all`` and ``test_seen_all``."""

ALL_HELD_OUT = tuple(c for c in CALCULATORS.values() if c.held_out)
"""Asked in ``test_unseen_all`` only."""
