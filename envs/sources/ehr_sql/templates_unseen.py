"""Question templates held out of training: known tables and idioms in combinations that no seen template has."""

from copilot.envs.sources.ehr_sql.idioms import (
    DIAGNOSIS,
    DRUG,
    EXTREMES,
    FIRST_LAST,
    GENDERS,
    LAB,
    LAB_MONTH,
    MONTH,
    MONTHS_BACK,
    PATIENT,
    PATIENT_LAB,
    PATIENT_VITAL,
    TOP,
    VITAL,
)
from copilot.envs.sources.ehr_sql.template import Template

UNSEEN: tuple[Template, ...] = (
    Template(
        "vital_at_end",
        "trend",
        (
            "What was the {which} {vital} of patient {patient}?",
            "Give the {which} charted {vital} of patient {patient}.",
            "What is the {which} value of {vital} for patient {patient}?",
        ),
        "SELECT valuenum " + VITAL + " ORDER BY charttime{which} LIMIT 1",
        PATIENT_VITAL,
        "real",
        {"which": FIRST_LAST},
    ),
    Template(
        "lab_rise",
        "trend",
        (
            "Was the last {lab} of patient {patient} higher than the first?",
            "Is the last {lab} of patient {patient} above the first value?",
            "Did {lab} of patient {patient} rise from the first to the last test?",
        ),
        "SELECT (SELECT valuenum "
        + LAB
        + " ORDER BY charttime DESC LIMIT 1)>(SELECT valuenum "
        + LAB
        + " ORDER BY charttime LIMIT 1)",
        PATIENT_LAB,
        "boolean",
    ),
    Template(
        "lab_in_year",
        "time",
        (
            "What was the {agg} {lab} of patient {patient} in {year}?",
            "Give the {agg} {lab} measured in patient {patient} in {year}.",
            "In {year}, what was the {agg} {lab} of patient {patient}?",
        ),
        "SELECT {agg}(valuenum) " + LAB + " AND charttime LIKE '{year}%'",
        "SELECT subject_id AS patient, label AS lab, substr(charttime,1,4) AS year FROM labevents "
        "JOIN d_labitems USING(itemid) GROUP BY 1, 2, 3 HAVING count(*)>2",
        "real",
        {"agg": EXTREMES},
    ),
    Template(
        "icu_stays_since",
        "time",
        (
            "How many ICU stays has patient {patient} had since {month}?",
            "Since {month}, how often was patient {patient} in the ICU?",
            "Count the ICU stays of patient {patient} since {month}.",
        ),
        "SELECT count(*) FROM icustays WHERE subject_id={patient} AND intime>='{month}'",
        "SELECT DISTINCT subject_id AS patient, substr(intime,1,7) AS month FROM icustays WHERE subject_id IN "
        "(SELECT subject_id FROM icustays GROUP BY 1 HAVING count(*)>1)",
        "integer",
    ),
    Template(
        "diagnosed_last_months",
        "time",
        (
            "How many patients were diagnosed with {dx} in the last {n} months?",
            "In the past {n} months, how many patients had {dx}?",
            "Count the patients with {dx} since {n} months ago.",
        ),
        "SELECT count(DISTINCT subject_id) FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) "
        "WHERE short_title='{dx}' AND charttime>=datetime(current_time,'-{n} month')",
        DIAGNOSIS,
        "integer",
        {"n": MONTHS_BACK},
    ),
    Template(
        "procedure_in_year",
        "join",
        (
            "How many patients underwent {procedure} in {year}?",
            "Count the patients with the procedure {procedure} in {year}.",
            "In {year}, how many patients had the procedure {procedure}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM procedures_icd JOIN d_icd_procedures USING(icd9_code) "
        "WHERE short_title='{procedure}' AND charttime LIKE '{year}%'",
        "SELECT DISTINCT short_title AS procedure, substr(charttime,1,4) AS year FROM procedures_icd "
        "JOIN d_icd_procedures USING(icd9_code)",
        "integer",
    ),
    Template(
        "drug_by_gender",
        "join",
        (
            "How many {gender} patients were prescribed {drug}?",
            "Count the {gender} patients who got {drug}.",
            "What is the number of {gender} patients on {drug}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM prescriptions JOIN patients USING(subject_id) "
        "WHERE gender='{gender}' AND drug='{drug}'",
        DRUG,
        "integer",
        {"gender": GENDERS},
    ),
    Template(
        "top_procedures",
        "topk",
        (
            "What are the {k} most common procedures since {month}?",
            "List the top {k} procedures since {month}.",
            "Since {month}, what were the {k} most frequent procedures?",
        ),
        "SELECT short_title FROM procedures_icd JOIN d_icd_procedures USING(icd9_code) WHERE charttime>='{month}' "
        "GROUP BY short_title ORDER BY count(*) DESC LIMIT {k}",
        MONTH,
        choices={"k": TOP},
    ),
    Template(
        "lowest_lab_patient",
        "topk",
        (
            "Which patient had the lowest {lab} in {month}?",
            "In {month}, who had the lowest {lab}? Give the patient id.",
            "Id of the patient with the lowest {lab} in {month}?",
        ),
        "SELECT subject_id FROM labevents JOIN d_labitems USING(itemid) WHERE label='{lab}' "
        "AND charttime LIKE '{month}%' ORDER BY valuenum LIMIT 1",
        LAB_MONTH,
    ),
    Template(
        "output_on_day",
        "aggregate",
        (
            "What was the total output of patient {patient} on {day}?",
            "Sum up the output of patient {patient} on {day}.",
            "On {day}, how much output did patient {patient} have in total?",
        ),
        "SELECT sum(value) FROM outputevents WHERE subject_id={patient} AND charttime LIKE '{day}%'",
        "SELECT DISTINCT subject_id AS patient, substr(charttime,1,10) AS day FROM outputevents",
        "real",
    ),
    Template(
        "social",
        "unanswerable",
        (
            "What is the {thing} of patient {patient}?",
            "Tell me the {thing} of patient {patient}.",
        ),
        "",
        PATIENT,
        "unanswerable",
        {"thing": tuple((t, t) for t in ("occupation", "education level", "favourite food", "blood type"))},
    ),
    Template(
        "availability",
        "unanswerable",
        (
            "Is {drug} out of stock in the pharmacy?",
            "Who makes {drug}?",
            "When does the patent of {drug} expire?",
        ),
        "",
        DRUG,
        "unanswerable",
    ),
)
