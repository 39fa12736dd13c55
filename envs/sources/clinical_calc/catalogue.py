"""All calculators, by name."""

from copilot.envs.sources.clinical_calc import body, cardiac, hepatic, metabolic, pulmonary, renal
from copilot.envs.sources.clinical_calc.records import Calculator

CALCULATORS: dict[str, Calculator] = {
    calculator.name: calculator
    for module in (body, renal, metabolic, cardiac, pulmonary, hepatic)
    for calculator in module.CALCULATORS
}
"""Every calculator, held out or not, in a stable order."""

TRAINED = tuple(c for c in CALCULATORS.values() if not c.held_out)
"""Asked in ``train``, ``valid`` and ``test_seen``."""

HELD_OUT = tuple(c for c in CALCULATORS.values() if c.held_out)
"""Asked in ``test_unseen`` only, always with the formula stated."""
