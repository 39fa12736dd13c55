"""Clinical calculators over note-like vignettes: generated, seeded, with published formulas as ground truth."""

from copilot.envs.sources.clinical_calc.source import SOURCE, ClinicalCalc

__all__ = ["SOURCE", "ClinicalCalc"]
