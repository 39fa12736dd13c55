"""Seen templates about what is: look-ups, joins, aggregates."""

from copilot.envs.sources.ehr_sql.idioms import (
    ADMITTED,
    ADMITTED_AGAIN,
    DIAGNOSIS,
    DIAGNOSIS_YEAR,
    EXTREMES,
    FIRST_LAST,
    GENDERS,
    IN_ICU,
    LAB,
    PATIENT,
    PATIENT_DRUG,
    PATIENT_LAB,
    PATIENT_VITAL,
    VITAL,
    WITH_DX,
)
from copilot.envs.sources.ehr_sql.template import Template

LOOKUP = (
    Template(
        "gender",
        "lookup",
        (
            "What is the gender of patient {patient}?",
            "Tell me the gender of patient {patient}.",
            "Is patient {patient} male or female?",
            "Which sex is recorded for patient {patient}?",
        ),
        "SELECT gender FROM patients WHERE subject_id={patient}",
        PATIENT,
    ),
    Template(
        "last_admission_field",
        "lookup",
        (
            "What was the {field} of patient {patient} at the last hospital visit?",
            "Give the {field} of patient {patient} in the most recent admission.",
            "What is the {field} of patient {patient} on their last admission?",
            "Last admission of patient {patient}: what {field}?",
        ),
        "SELECT {field} FROM admissions WHERE subject_id={patient} ORDER BY admittime DESC LIMIT 1",
        ADMITTED,
        choices={
            "field": (
                ("admission_type", "admission type"),
                ("admission_location", "admission location"),
                ("discharge_location", "discharge location"),
                ("insurance", "insurance"),
                ("marital_status", "marital status"),
                ("language", "language"),
            )
        },
    ),
    Template(
        "drug_route",
        "lookup",
        (
            "By what route did patient {patient} get {drug}?",
            "What was the route of {drug} for patient {patient}?",
            "How was {drug} given to patient {patient}?",
            "Which routes were used for {drug} in patient {patient}?",
        ),
        "SELECT DISTINCT route FROM prescriptions WHERE subject_id={patient} AND drug='{drug}'",
        PATIENT_DRUG,
    ),
    Template(
        "code_title",
        "lookup",
        (
            "What does the ICD-9 diagnosis code {code} mean?",
            "Which diagnosis has the ICD-9 code {code}?",
            "Spell out diagnosis code {code}.",
            "Give the full title of ICD-9 diagnosis {code}.",
        ),
        "SELECT long_title FROM d_icd_diagnoses WHERE icd9_code='{code}'",
        "SELECT icd9_code AS code FROM d_icd_diagnoses",
    ),
    Template(
        "icu_unit",
        "lookup",
        (
            "In which care unit was the {which} ICU stay of patient {patient}?",
            "What was the care unit of patient {patient} in the {which} ICU stay?",
            "Which unit took patient {patient} for the {which} ICU stay?",
            "Name the care unit of the {which} ICU stay of patient {patient}.",
        ),
        "SELECT first_careunit FROM icustays WHERE subject_id={patient} ORDER BY intime{which} LIMIT 1",
        IN_ICU,
        choices={"which": FIRST_LAST},
    ),
    Template(
        "organisms",
        "lookup",
        (
            "Which organisms grew in the {specimen} of patient {patient}?",
            "What organisms were found in the {specimen} of patient {patient}?",
            "List the organisms in {specimen} for patient {patient}.",
            "What did the {specimen} test of patient {patient} grow?",
        ),
        "SELECT DISTINCT org_name FROM microbiologyevents WHERE subject_id={patient} "
        "AND spec_type_desc='{specimen}' AND org_name NOT NULL",
        "SELECT DISTINCT subject_id AS patient, spec_type_desc AS specimen FROM microbiologyevents "
        "WHERE org_name NOT NULL",
    ),
)

JOIN = (
    Template(
        "patient_diagnoses",
        "join",
        (
            "What diagnoses did patient {patient} get in {year}?",
            "List the diagnoses of patient {patient} in {year}.",
            "With what was patient {patient} diagnosed in {year}?",
            "Which diagnoses were made for patient {patient} in {year}?",
        ),
        "SELECT DISTINCT short_title FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) "
        "WHERE subject_id={patient} AND charttime LIKE '{year}%'",
        "SELECT DISTINCT subject_id AS patient, substr(charttime,1,4) AS year FROM diagnoses_icd",
    ),
    Template(
        "patient_procedures",
        "join",
        (
            "Which procedures did patient {patient} undergo?",
            "List the procedures of patient {patient}.",
            "What procedures has patient {patient} had?",
            "What was done to patient {patient} by way of procedures?",
        ),
        "SELECT DISTINCT short_title FROM procedures_icd JOIN d_icd_procedures USING(icd9_code) "
        "WHERE subject_id={patient}",
        "SELECT DISTINCT subject_id AS patient FROM procedures_icd",
    ),
    Template(
        "diagnosed_in_year",
        "join",
        (
            "How many patients were diagnosed with {dx} in {year}?",
            "Count the patients with a diagnosis of {dx} in {year}.",
            "What is the number of patients with {dx} in {year}?",
            "In {year}, how many patients had {dx}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) "
        "WHERE short_title='{dx}' AND charttime LIKE '{year}%'",
        DIAGNOSIS_YEAR,
        "integer",
    ),
    Template(
        "diagnosed_by_gender",
        "join",
        (
            "How many {gender} patients were diagnosed with {dx}?",
            "Count the {gender} patients with {dx}.",
            "What is the number of {gender} patients with a diagnosis of {dx}?",
            "{dx}: how many patients were {gender}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) "
        "JOIN patients USING(subject_id) WHERE gender='{gender}' AND short_title='{dx}'",
        DIAGNOSIS,
        "integer",
        {"gender": GENDERS},
    ),
    Template(
        "drug_with_diagnosis",
        "join",
        (
            "How many patients with {dx} got {drug} in the same stay?",
            "Count the patients given {drug} in a stay with {dx}.",
            "What number of patients received {drug} when admitted with {dx}?",
            "In stays with {dx}, how many patients were prescribed {drug}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM prescriptions WHERE drug='{drug}' AND hadm_id IN " + WITH_DX,
        "SELECT short_title AS dx, drug FROM prescriptions JOIN diagnoses_icd USING(hadm_id) "
        "JOIN d_icd_diagnoses USING(icd9_code) GROUP BY 1, 2 HAVING count(*)>2",
        "integer",
    ),
    Template(
        "lab_with_diagnosis",
        "join",
        (
            "What is the average {lab} in stays with {dx}?",
            "Give the mean {lab} for admissions with {dx}.",
            "How high is {lab} on average when {dx} was diagnosed?",
            "Average {lab} of stays diagnosed with {dx}?",
        ),
        "SELECT avg(valuenum) FROM labevents JOIN d_labitems USING(itemid) WHERE label='{lab}' AND hadm_id IN "
        + WITH_DX,
        "SELECT short_title AS dx, label AS lab FROM d_icd_diagnoses CROSS JOIN d_labitems",
        "real",
    ),
)

AGGREGATE = (
    Template(
        "admission_count",
        "aggregate",
        (
            "How many times was patient {patient} admitted?",
            "Count the hospital admissions of patient {patient}.",
            "What is the number of hospital visits of patient {patient}?",
            "How often has patient {patient} been in the hospital?",
        ),
        "SELECT count(*) FROM admissions WHERE subject_id={patient}",
        ADMITTED_AGAIN,
        "integer",
    ),
    Template(
        "lab_aggregate",
        "aggregate",
        (
            "What was the {agg} {lab} of patient {patient}?",
            "Give the {agg} {lab} measured in patient {patient}.",
            "What is the {agg} value of {lab} for patient {patient}?",
            "Patient {patient}: what was the {agg} {lab}?",
        ),
        "SELECT {agg}(valuenum) " + LAB,
        PATIENT_LAB,
        "real",
        {"agg": EXTREMES},
    ),
    Template(
        "vital_aggregate",
        "aggregate",
        (
            "What was the {agg} {vital} charted for patient {patient}?",
            "Give the {agg} {vital} of patient {patient} in the ICU.",
            "What is the {agg} value of {vital} for patient {patient}?",
            "Patient {patient}: what was the {agg} {vital}?",
        ),
        "SELECT {agg}(valuenum) " + VITAL,
        PATIENT_VITAL,
        "real",
        {"agg": EXTREMES},
    ),
    Template(
        "stay_cost",
        "aggregate",
        (
            "What was the total cost of hospital stay {stay}?",
            "How much did hospital stay {stay} cost?",
            "Sum up the costs of hospital stay {stay}.",
            "What did hospital stay {stay} cost in all?",
        ),
        "SELECT sum(cost) FROM cost WHERE hadm_id={stay}",
        "SELECT hadm_id AS stay FROM admissions",
        "real",
    ),
    Template(
        "input_total",
        "aggregate",
        (
            "How much {fluid} did patient {patient} receive in total?",
            "What is the total input of {fluid} for patient {patient}?",
            "Sum up the {fluid} intake of patient {patient}.",
            "Total amount of {fluid} given to patient {patient}?",
        ),
        "SELECT sum(amount) FROM inputevents_cv JOIN d_items USING(itemid) "
        "WHERE subject_id={patient} AND label='{fluid}'",
        "SELECT DISTINCT subject_id AS patient, label AS fluid FROM inputevents_cv JOIN d_items USING(itemid)",
        "real",
    ),
    Template(
        "output_total",
        "aggregate",
        (
            "How much {fluid} did patient {patient} have in total?",
            "What is the total output of {fluid} for patient {patient}?",
            "Sum up the {fluid} output of patient {patient}.",
            "Total value of {fluid} for patient {patient}?",
        ),
        "SELECT sum(value) FROM outputevents JOIN d_items USING(itemid) WHERE subject_id={patient} AND label='{fluid}'",
        "SELECT DISTINCT subject_id AS patient, label AS fluid FROM outputevents JOIN d_items USING(itemid)",
        "real",
    ),
    Template(
        "average_age",
        "aggregate",
        (
            "What was the average age of {marital} patients admitted in {year}?",
            "Give the mean age at admission of {marital} patients in {year}.",
            "How old on average were {marital} patients admitted in {year}?",
            "Average age of {marital} admissions in {year}?",
        ),
        "SELECT avg(age) FROM admissions WHERE marital_status='{marital}' AND admittime LIKE '{year}%'",
        "SELECT DISTINCT marital_status AS marital, substr(admittime,1,4) AS year FROM admissions",
        "real",
    ),
    Template(
        "drug_patients_in_year",
        "aggregate",
        (
            "How many patients were prescribed {drug} in {year}?",
            "Count the patients who got {drug} in {year}.",
            "What is the number of patients on {drug} in {year}?",
            "In {year}, how many patients received {drug}?",
        ),
        "SELECT count(DISTINCT subject_id) FROM prescriptions WHERE drug='{drug}' AND startdate LIKE '{year}%'",
        "SELECT DISTINCT drug, substr(startdate,1,4) AS year FROM prescriptions",
        "integer",
    ),
)
