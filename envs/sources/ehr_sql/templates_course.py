"""Seen templates about the course of things: times, ranks, trends; and what the data cannot answer."""

from copilot.envs.sources.ehr_sql.idioms import (
    ADMITTED,
    DIAGNOSIS,
    DRUG,
    FIRST_LAST,
    IN_ICU,
    LAB,
    LAB_MONTH,
    MONTH,
    MONTHS_BACK,
    PATIENT,
    PATIENT_DRUG,
    PATIENT_LAB,
    TOP,
    WITH_DX,
)
from copilot.envs.sources.ehr_sql.template import Template

TIME = (
    Template(
        "admission_time",
        "time",
        (
            "When was patient {patient} admitted for the {which} time?",
            "What was the time of the {which} admission of patient {patient}?",
            "When did patient {patient} come to the hospital for the {which} time?",
            "Give the {which} admission time of patient {patient}.",
        ),
        "SELECT admittime FROM admissions WHERE subject_id={patient} ORDER BY admittime{which} LIMIT 1",
        ADMITTED,
        choices={"which": FIRST_LAST},
    ),
    Template(
        "icu_days",
        "time",
        (
            "How many days did the {which} ICU stay of patient {patient} last?",
            "What was the length in days of the {which} ICU stay of patient {patient}?",
            "For how many days was patient {patient} in the ICU in the {which} stay?",
            "Days of the {which} ICU stay of patient {patient}?",
        ),
        "SELECT julianday(outtime)-julianday(intime) FROM icustays WHERE subject_id={patient} "
        "ORDER BY intime{which} LIMIT 1",
        IN_ICU,
        "real",
        {"which": FIRST_LAST},
    ),
    Template(
        "admissions_since",
        "time",
        (
            "How many admissions has patient {patient} had since {month}?",
            "Since {month}, how often was patient {patient} admitted?",
            "Count the hospital visits of patient {patient} since {month}.",
            "How many times was patient {patient} admitted since {month}?",
        ),
        "SELECT count(*) FROM admissions WHERE subject_id={patient} AND admittime>='{month}'",
        "SELECT DISTINCT subject_id AS patient, substr(admittime,1,7) AS month FROM admissions WHERE subject_id IN "
        "(SELECT subject_id FROM admissions GROUP BY 1 HAVING count(*)>1)",
        "integer",
    ),
    Template(
        "admitted_in_month",
        "time",
        (
            "How many patients had an {kind} admission in {month}?",
            "Count the patients with {kind} admission type in {month}.",
            "In {month}, how many patients were admitted as {kind}?",
            "What is the number of {kind} admission patients in {month}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM admissions WHERE admission_type='{kind}' AND admittime LIKE '{month}%'",
        "SELECT DISTINCT admission_type AS kind, substr(admittime,1,7) AS month FROM admissions",
        "integer",
    ),
    Template(
        "drug_last_months",
        "time",
        (
            "How many patients were prescribed {drug} in the last {n} months?",
            "In the past {n} months, how many patients got {drug}?",
            "Count the patients on {drug} since {n} months ago.",
            "What is the number of patients given {drug} within the last {n} months?",
        ),
        "SELECT count(DISTINCT subject_id) FROM prescriptions WHERE drug='{drug}' "
        "AND startdate>=datetime(current_time,'-{n} month')",
        DRUG,
        "integer",
        {"n": MONTHS_BACK},
    ),
    Template(
        "lab_time",
        "time",
        (
            "When was {lab} {which} measured in patient {patient}?",
            "What was the time of the {which} {lab} of patient {patient}?",
            "At what time did patient {patient} have the {which} {lab} test?",
            "Give the time of the {which} {lab} test of patient {patient}.",
        ),
        "SELECT {which}(charttime) " + LAB,
        PATIENT_LAB,
        choices={"which": (("min", "first"), ("max", "last"))},
    ),
    Template(
        "was_given",
        "time",
        (
            "Was patient {patient} given {drug} in {year}?",
            "Did patient {patient} get {drug} in {year}?",
            "Has {drug} been prescribed to patient {patient} in {year}?",
            "In {year}, did patient {patient} receive {drug}?",
        ),
        "SELECT count(*)>0 FROM prescriptions WHERE subject_id={patient} AND drug='{drug}' "
        "AND startdate LIKE '{year}%'",
        # About as many drugs that were given as others, for patients who were in the hospital in that year.
        "SELECT subject_id AS patient, drug, substr(startdate,1,4) AS year FROM prescriptions WHERE row_id%6=0 "
        "UNION SELECT subject_id, drug, substr(admittime,1,4) FROM admissions "
        "JOIN (SELECT DISTINCT drug, length(drug) AS size FROM prescriptions) ON (hadm_id+size*7)%43=0",
        "boolean",
    ),
    Template(
        "drugs_on_day",
        "time",
        (
            "Which drugs were started for patient {patient} on {day}?",
            "List the drugs prescribed to patient {patient} on {day}.",
            "What was patient {patient} prescribed on {day}?",
            "On {day}, what drugs did patient {patient} get?",
        ),
        "SELECT DISTINCT drug FROM prescriptions WHERE subject_id={patient} AND startdate LIKE '{day}%'",
        "SELECT DISTINCT subject_id AS patient, substr(startdate,1,10) AS day FROM prescriptions",
    ),
)

TOPK = (
    Template(
        "top_drugs",
        "topk",
        (
            "What are the {k} most common {route} drugs in {year}?",
            "List the top {k} drugs given {route} in {year}.",
            "Which {k} drugs were prescribed {route} most often in {year}?",
            "In {year}, what were the {k} most frequent {route} drugs?",
        ),
        "SELECT drug FROM prescriptions WHERE route='{route}' AND startdate LIKE '{year}%' "
        "GROUP BY drug ORDER BY count(*) DESC LIMIT {k}",
        "SELECT DISTINCT route, substr(startdate,1,4) AS year FROM prescriptions",
        choices={"k": TOP},
    ),
    Template(
        "top_diagnoses",
        "topk",
        (
            "What are the {k} most common diagnoses since {month}?",
            "List the top {k} diagnoses since {month}.",
            "Which {k} diagnoses were made most often since {month}?",
            "Since {month}, what were the {k} most frequent diagnoses?",
        ),
        "SELECT short_title FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) WHERE charttime>='{month}' "
        "GROUP BY short_title ORDER BY count(*) DESC LIMIT {k}",
        MONTH,
        choices={"k": TOP},
    ),
    Template(
        "top_organisms",
        "topk",
        (
            "What are the {k} most common organisms in {specimen} since {year}?",
            "List the top {k} organisms found in {specimen} since {year}.",
            "Which {k} organisms grew most often in {specimen} since {year}?",
            "Since {year}, what were the {k} most frequent {specimen} organisms?",
        ),
        "SELECT org_name FROM microbiologyevents WHERE spec_type_desc='{specimen}' AND charttime>='{year}' "
        "AND org_name NOT NULL GROUP BY org_name ORDER BY count(*) DESC LIMIT {k}",
        "SELECT DISTINCT spec_type_desc AS specimen, substr(charttime,1,4) AS year FROM microbiologyevents "
        "WHERE org_name NOT NULL",
        choices={"k": TOP[:3]},
    ),
    Template(
        "top_drugs_with_diagnosis",
        "topk",
        (
            "What are the {k} most common drugs in stays with {dx}?",
            "List the top {k} drugs for admissions with {dx}.",
            "Which {k} drugs were prescribed most often with {dx}?",
            "In stays with {dx}, what were the {k} most frequent drugs?",
        ),
        "SELECT drug FROM prescriptions WHERE hadm_id IN "
        + WITH_DX
        + " GROUP BY drug ORDER BY count(*) DESC LIMIT {k}",
        DIAGNOSIS,
        choices={"k": TOP},
    ),
    Template(
        "highest_lab_patient",
        "topk",
        (
            "Which patient had the highest {lab} in {month}?",
            "In {month}, who had the highest {lab}? Give the patient id.",
            "Id of the patient with the highest {lab} in {month}?",
            "Find the patient with the maximum {lab} in {month}.",
        ),
        "SELECT subject_id FROM labevents JOIN d_labitems USING(itemid) WHERE label='{lab}' "
        "AND charttime LIKE '{month}%' ORDER BY valuenum DESC LIMIT 1",
        LAB_MONTH,
    ),
)

TREND = (
    Template(
        "lab_at_end",
        "trend",
        (
            "What was the {which} {lab} of patient {patient}?",
            "Give the {which} measured {lab} of patient {patient}.",
            "What is the {which} value of {lab} for patient {patient}?",
            "Patient {patient}: what was the {which} {lab}?",
        ),
        "SELECT valuenum " + LAB + " ORDER BY charttime{which} LIMIT 1",
        PATIENT_LAB,
        "real",
        {"which": FIRST_LAST},
    ),
    Template(
        "lab_change",
        "trend",
        (
            "By how much did {lab} of patient {patient} change from the first to the last value?",
            "What is the last minus the first {lab} of patient {patient}?",
            "How did {lab} of patient {patient} change between first and last test?",
            "Difference of last and first {lab} of patient {patient}?",
        ),
        "SELECT (SELECT valuenum "
        + LAB
        + " ORDER BY charttime DESC LIMIT 1)-(SELECT valuenum "
        + LAB
        + " ORDER BY charttime LIMIT 1)",
        PATIENT_LAB,
        "real",
    ),
    Template(
        "lab_above",
        "trend",
        (
            "How often was {lab} of patient {patient} above {limit}?",
            "Count the {lab} values of patient {patient} above {limit}.",
            "How many {lab} tests of patient {patient} were over {limit}?",
            "Number of times {lab} exceeded {limit} in patient {patient}?",
        ),
        "SELECT count(*) " + LAB + " AND valuenum>{limit}",
        'SELECT subject_id AS patient, label AS lab, CAST(avg(valuenum) AS INT) AS "limit" FROM labevents '
        "JOIN d_labitems USING(itemid) GROUP BY 1, 2 HAVING count(*)>3 AND avg(valuenum)>20",
        "integer",
    ),
    Template(
        "lab_peak_time",
        "trend",
        (
            "When was {lab} of patient {patient} highest?",
            "At what time did {lab} of patient {patient} peak?",
            "Give the time of the highest {lab} of patient {patient}.",
            "When did patient {patient} have the maximum {lab}?",
        ),
        "SELECT charttime " + LAB + " ORDER BY valuenum DESC LIMIT 1",
        PATIENT_LAB,
    ),
)

UNANSWERABLE = (
    Template(
        "contact",
        "unanswerable",
        (
            "What is the {thing} of patient {patient}?",
            "Give me the {thing} of patient {patient}.",
            "Tell me the {thing} of patient {patient}.",
            "Look up the {thing} of patient {patient}.",
        ),
        "",
        PATIENT,
        "unanswerable",
        {"thing": tuple((t, t) for t in ("phone number", "home address", "email address", "full name"))},
    ),
    Template(
        "appointment",
        "unanswerable",
        (
            "When is the next appointment of patient {patient}?",
            "Has patient {patient} an appointment next week?",
            "When will patient {patient} come for follow-up?",
            "What is the date of the next visit planned for patient {patient}?",
        ),
        "",
        PATIENT,
        "unanswerable",
    ),
    Template(
        "prescriber",
        "unanswerable",
        (
            "Which doctor prescribed {drug} to patient {patient}?",
            "Who ordered {drug} for patient {patient}?",
            "Name the physician who gave patient {patient} {drug}.",
            "What nurse gave {drug} to patient {patient}?",
        ),
        "",
        PATIENT_DRUG,
        "unanswerable",
    ),
    Template(
        "side_effects",
        "unanswerable",
        (
            "What are the side effects of {drug}?",
            "Which side effects does {drug} have?",
            "Is {drug} safe in pregnancy?",
            "What should not be taken together with {drug}?",
        ),
        "",
        DRUG,
        "unanswerable",
    ),
    Template(
        "family",
        "unanswerable",
        (
            "Does the family of patient {patient} have a history of {dx}?",
            "Did a parent of patient {patient} have {dx}?",
            "Is there {dx} in the family of patient {patient}?",
            "Which relative of patient {patient} had {dx}?",
        ),
        "",
        "SELECT DISTINCT subject_id AS patient, short_title AS dx FROM diagnoses_icd "
        "JOIN d_icd_diagnoses USING(icd9_code) WHERE diagnoses_icd.row_id%5=0",
        "unanswerable",
    ),
)
