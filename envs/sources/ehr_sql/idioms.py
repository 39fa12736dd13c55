"""Parts that question templates are made of: where slot values come from, what words stand for, pieces of SQL.

The SQL is as short as is natural: ``USING`` joins, no aliases, times compared as text. The idioms are few, so that
the held-out templates are new combinations of known parts.
"""

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
