"""Question templates of ``train``, ``valid`` and ``test_seen``.

The SQL is as short as is natural: ``USING`` joins, no aliases, times compared as text. The idioms are few, so that
the held-out templates are new combinations of known parts.
"""

from copilot.envs.sources.ehr_sql.template import Template

FIRST_LAST = (("", "first"), (" DESC", "last"))
EXTREMES = (("max", "highest"), ("min", "lowest"), ("avg", "average"))
GENDERS = (("f", "female"), ("m", "male"))
MONTHS_BACK = tuple((str(n), str(n)) for n in (3, 6, 9, 12, 18))
TOP = tuple((str(k), str(k)) for k in (2, 3, 4, 5))

PATIENT = "SELECT subject_id AS patient FROM patients"
ADMITTED = "SELECT DISTINCT subject_id AS patient FROM admissions"
ADMITTED_AGAIN = "SELECT subject_id AS patient FROM admissions GROUP BY 1 HAVING count(*)>1"
IN_ICU = "SELECT DISTINCT subject_id AS patient FROM icustays"
DRUG = "SELECT DISTINCT drug FROM prescriptions"
PATIENT_DRUG = "SELECT DISTINCT subject_id AS patient, drug FROM prescriptions"
DIAGNOSIS = "SELECT DISTINCT short_title AS dx FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code)"
DIAGNOSIS_YEAR = (
    "SELECT DISTINCT short_title AS dx, substr(charttime,1,4) AS year "
    "FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code)"
)
PATIENT_LAB = (
    "SELECT subject_id AS patient, label AS lab FROM labevents JOIN d_labitems USING(itemid) "
    "GROUP BY 1, 2 HAVING count(*)>2"
)
PATIENT_VITAL = (
    "SELECT subject_id AS patient, label AS vital FROM chartevents JOIN d_items USING(itemid) "
    "GROUP BY 1, 2 HAVING count(*)>2"
)
MONTH = "SELECT DISTINCT substr(admittime,1,7) AS month FROM admissions"
LAB_MONTH = "SELECT DISTINCT label AS lab, substr(charttime,1,7) AS month FROM labevents JOIN d_labitems USING(itemid)"

LAB = "FROM labevents JOIN d_labitems USING(itemid) WHERE subject_id={patient} AND label='{lab}'"
VITAL = "FROM chartevents JOIN d_items USING(itemid) WHERE subject_id={patient} AND label='{vital}'"
WITH_DX = "(SELECT hadm_id FROM diagnoses_icd JOIN d_icd_diagnoses USING(icd9_code) WHERE short_title='{dx}')"

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

SEEN = (*LOOKUP, *JOIN, *AGGREGATE, *TIME, *TOPK, *TREND, *UNANSWERABLE)
