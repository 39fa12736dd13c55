"""Every calculator against worked examples in closed form: none of these numbers comes from the code under test."""

import pytest

from copilot.envs.sources.clinical_calc.catalogue import CALCULATORS, HELD_OUT

MAN, WOMAN = {"female": 0.0}, {"female": 1.0}
NO_STROKE_RISK = {"chf": 0, "htn": 0, "dm": 0, "stroke": 0, "vascular": 0}
NO_BLEEDING_RISK = dict.fromkeys(("htn", "renal", "liver", "stroke", "bleeding", "inr", "drugs", "alcohol"), 0)
NO_PE = {"dvt": 0, "likely": 0, "hr": 100, "immobile": 0, "previous": 0, "hemoptysis": 0, "cancer": 0}
DVT_SIGNS = ("cancer", "paralysis", "bedridden", "tender", "swollen", "calf", "pitting", "collateral")
NO_DVT = dict.fromkeys((*DVT_SIGNS, "alternative"), 0)
WELL = {"confusion": 0, "bun": 19, "rr": 29, "sbp": 90, "dbp": 61, "age": 64}
CALM = {"temp": 37.0, "hr": 90, "rr": 20, "wbc": 8.0}

EXAMPLES = [
    ("cockcroft_gault", {"age": 60, "weight": 72, "creatinine": 1.0} | MAN, 80.0),
    ("cockcroft_gault", {"age": 60, "weight": 72, "creatinine": 1.0} | WOMAN, 68.0),
    ("ckd_epi_2021", {"age": 50, "creatinine": 1.0} | MAN, 91.69148),  # the National Kidney Foundation prints 92
    ("ckd_epi_2021", {"age": 40, "creatinine": 0.7} | WOMAN, 112.05431),
    ("ckd_epi_2021", {"age": 0, "creatinine": 0.45} | MAN, 142 * 2**0.302),
    ("mdrd", {"age": 50, "creatinine": 1.0} | MAN, 79.09466),
    ("mdrd", {"age": 50, "creatinine": 1.0} | WOMAN, 58.68823),
    ("fena", {"urine_sodium": 40, "creatinine": 2.0, "sodium": 140, "urine_creatinine": 80}, 5 / 7),
    ("feurea", {"urine_urea": 300, "creatinine": 2.0, "bun": 60, "urine_creatinine": 100}, 10.0),
    ("free_water_deficit", {"weight": 70, "sodium": 160} | MAN, 6.0),
    ("free_water_deficit", {"weight": 70, "sodium": 160} | WOMAN, 5.0),
    ("bmi", {"weight": 70, "height": 175}, 22.8571),
    ("bsa_mosteller", {"weight": 80, "height": 180}, 2.0),
    ("bsa_dubois", {"weight": 70, "height": 170}, 1.809708),
    ("ideal_body_weight", {"height_in": 70} | MAN, 73.0),
    ("ideal_body_weight", {"height_in": 64} | WOMAN, 54.7),
    ("adjusted_body_weight", {"height_in": 70, "weight": 100} | MAN, 83.8),
    ("mifflin_st_jeor", {"weight": 70, "height": 175, "age": 30} | MAN, 1648.75),
    ("mifflin_st_jeor", {"weight": 70, "height": 175, "age": 30} | WOMAN, 1482.75),
    ("maintenance_fluids", {"weight": 7}, 28.0),
    ("maintenance_fluids", {"weight": 15}, 50.0),
    ("maintenance_fluids", {"weight": 25}, 65.0),
    ("parkland", {"weight": 70, "burn": 40}, 11200.0),
    ("corrected_calcium", {"calcium": 8.0, "albumin": 2.0}, 9.6),
    ("anion_gap", {"sodium": 140, "chloride": 104, "bicarbonate": 24}, 12.0),
    ("albumin_anion_gap", {"sodium": 140, "chloride": 104, "bicarbonate": 24, "albumin": 2.0}, 17.0),
    ("delta_ratio", {"sodium": 140, "chloride": 100, "bicarbonate": 12}, 4 / 3),
    ("winters", {"bicarbonate": 12}, 26.0),
    ("osmolality", {"sodium": 140, "glucose": 180, "bun": 28}, 300.0),
    ("corrected_sodium", {"sodium": 130, "glucose": 600}, 142.0),
    ("homa_ir", {"glucose": 81, "insulin": 10}, 2.0),
    ("ldl_friedewald", {"total": 200, "hdl": 50, "triglycerides": 150}, 120.0),
    ("average_glucose", {"a1c": 7.0}, 154.2),  # Nathan et al., table: 154 mg/dL
    ("average_glucose", {"a1c": 6.0}, 125.5),  # 126 mg/dL
    ("map", {"sbp": 120, "dbp": 80}, 280 / 3),
    ("qtc_bazett", {"qt": 400, "hr": 60}, 400.0),
    ("qtc_bazett", {"qt": 400, "hr": 240}, 800.0),
    ("qtc_fridericia", {"qt": 400, "hr": 480}, 800.0),
    ("qtc_framingham", {"qt": 400, "hr": 120}, 477.0),
    ("qtc_hodges", {"qt": 400, "hr": 100}, 470.0),
    ("shock_index", {"hr": 90, "sbp": 120}, 0.75),
    ("cha2ds2_vasc", NO_STROKE_RISK | {"age": 64} | MAN, 0),
    ("cha2ds2_vasc", NO_STROKE_RISK | {"age": 65} | MAN, 1),
    ("cha2ds2_vasc", NO_STROKE_RISK | {"age": 75, "htn": 1, "dm": 1, "stroke": 1} | WOMAN, 7),
    ("cha2ds2_vasc", dict.fromkeys(NO_STROKE_RISK, 1) | {"age": 80} | WOMAN, 9),
    ("has_bled", NO_BLEEDING_RISK | {"age": 65}, 0),
    ("has_bled", NO_BLEEDING_RISK | {"age": 66, "htn": 1, "inr": 1, "drugs": 1}, 4),
    ("has_bled", dict.fromkeys(NO_BLEEDING_RISK, 1) | {"age": 70}, 9),
    ("aa_gradient", {"fio2": 0.21, "paco2": 40, "pao2": 90}, 9.73),
    ("pf_ratio", {"pao2": 80, "fio2": 0.4}, 200.0),
    ("curb65", WELL, 0),
    ("curb65", WELL | {"bun": 20}, 1),
    ("curb65", WELL | {"rr": 30}, 1),
    ("curb65", WELL | {"sbp": 89}, 1),
    ("curb65", WELL | {"dbp": 60, "sbp": 80}, 1),
    ("curb65", {"confusion": 1, "bun": 40, "rr": 35, "sbp": 80, "dbp": 40, "age": 65}, 5),
    ("wells_pe", NO_PE, 0.0),
    ("wells_pe", NO_PE | {"hr": 101, "previous": 1}, 3.0),
    ("wells_pe", dict.fromkeys(NO_PE, 1) | {"hr": 120}, 12.5),
    ("wells_dvt", NO_DVT | {"alternative": 1}, -2),
    ("wells_dvt", dict.fromkeys(DVT_SIGNS, 1) | {"alternative": 0}, 8),
    ("sirs", CALM, 0),
    ("sirs", CALM | {"temp": 35.9, "wbc": 3.9}, 2),
    ("sirs", {"temp": 38.1, "hr": 91, "rr": 21, "wbc": 12.1}, 4),
    ("qsofa", {"rr": 21, "sbp": 101, "confusion": 0}, 0),
    ("qsofa", {"rr": 22, "sbp": 100, "confusion": 1}, 3),
    ("meld", {"creatinine": 1.0, "bilirubin": 1.0, "inr": 1.0}, 6),
    ("meld", {"creatinine": 1.9, "bilirubin": 4.2, "inr": 1.2}, 20),  # the worked patient of Kamath et al. 2001
    ("meld", {"creatinine": 0.5, "bilirubin": 0.3, "inr": 0.9}, 6),
    ("meld", {"creatinine": 9.0, "bilirubin": 1.0, "inr": 1.0}, 20),  # as creatinine 4: 6.43 + 9.57 ln 4 = 19.70
    ("meld_na", {"creatinine": 1.9, "bilirubin": 4.2, "inr": 1.2, "sodium": 130}, 25),  # 20 + 9.24 - 4.62
    ("meld_na", {"creatinine": 1.9, "bilirubin": 4.2, "inr": 1.2, "sodium": 140}, 20),
    ("meld_na", {"creatinine": 1.9, "bilirubin": 4.2, "inr": 1.2, "sodium": 110}, 28),  # as 125: 20 + 15.84 - 7.92
    ("meld_na", {"creatinine": 1.0, "bilirubin": 1.0, "inr": 1.0, "sodium": 125}, 6),
    ("child_pugh", {"bilirubin": 1.9, "albumin": 3.6, "inr": 1.6, "ascites": 1, "encephalopathy": 1}, 5),
    ("child_pugh", {"bilirubin": 3.0, "albumin": 2.8, "inr": 2.3, "ascites": 2, "encephalopathy": 2}, 10),
    ("child_pugh", {"bilirubin": 3.1, "albumin": 2.7, "inr": 2.4, "ascites": 3, "encephalopathy": 3}, 15),
    ("fib4", {"age": 50, "ast": 80, "alt": 64, "platelets": 100}, 5.0),
    ("apri", {"ast": 80, "platelets": 100}, 2.0),
]


@pytest.mark.parametrize(("name", "values", "expected"), EXAMPLES)
def test_worked_example(name: str, values: dict[str, float], expected: float) -> None:
    assert CALCULATORS[name].formula(values) == pytest.approx(expected, rel=1e-5)


def test_every_calculator_has_a_worked_example_a_citation_and_three_ways_to_ask() -> None:
    assert {name for name, _, _ in EXAMPLES} == set(CALCULATORS)
    assert len(CALCULATORS) >= 40
    for calculator in CALCULATORS.values():
        assert 1900 < calculator.citation.year < 2026
        assert calculator.citation.authors
        assert calculator.citation.source
        assert len(set(calculator.asks)) == 3
    assert 5 <= len(HELD_OUT) <= 8
