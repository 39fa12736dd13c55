"""Clinical tables inside installed packages, read as files: the packages' code is never imported.

Every table is written once into the cache as a CSV with a header, so that all of them are read the same way.
"""

import csv
import gzip
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pandas as pd

from copilot.envs.sqlite_files import cache_folder
from copilot.errors import DataError

PACKAGES = ("lifelines", "scikit-learn", "statsmodels")
"""Distributions whose tables are asked about."""


@dataclass(frozen=True)
class Column:
    """A column that questions name."""

    name: str
    words: str
    """What it is, in a question."""


@dataclass(frozen=True)
class Group:
    """Two or more groups of rows by the values of a column."""

    column: str
    labels: Mapping[object, str]
    """What a value means: ``{1: "women"}``."""


@dataclass(frozen=True)
class Table:
    """One clinical table."""

    name: str
    package: str
    path: str
    """File inside the package's installation."""
    about: str
    """What the rows are."""
    numbers: tuple[Column, ...]
    """Measurements."""
    groups: tuple[Group, ...] = ()
    """Groups of rows."""
    survival: tuple[str, str, str] | None = None
    """Columns of time and event (1 where it happened), and the unit of time."""
    header: tuple[str, ...] = ()
    """Column names, where the file has none."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Columns that are renamed, since a name with dots is awkward."""
    skip: int = 0
    """Lines before the data."""
    separator: str = ","
    """Between cells."""


_SEX = Group("sex", {1: "men", 2: "women"})
_TUMOUR = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "points",
    "symmetry",
    "fractal",
)

TABLES = (
    Table(
        name="gbsg2",
        package="lifelines",
        path="lifelines/datasets/gbsg2.csv",
        about="686 women with node-positive breast cancer (German Breast Cancer Study Group 2)",
        numbers=(
            Column("age", "age in years"),
            Column("tsize", "tumour size in mm"),
            Column("pnodes", "number of positive nodes"),
            Column("progrec", "progesterone receptor in fmol"),
            Column("estrec", "oestrogen receptor in fmol"),
        ),
        groups=(
            Group("horTh", {"yes": "women with hormonal therapy", "no": "women without hormonal therapy"}),
            Group("menostat", {"Pre": "premenopausal women", "Post": "postmenopausal women"}),
        ),
        survival=("time", "cens", "days"),
    ),
    Table(
        name="lung",
        package="lifelines",
        path="lifelines/datasets/lung.csv",
        about="228 patients with advanced lung cancer (North Central Cancer Treatment Group)",
        numbers=(
            Column("age", "age in years"),
            Column("ph_karno", "Karnofsky score by the physician"),
            Column("pat_karno", "Karnofsky score by the patient"),
            Column("meal_cal", "calories at meals"),
            Column("wt_loss", "weight loss in pounds"),
        ),
        groups=(_SEX,),
        survival=("time", "status", "days"),
        names={
            "ph.ecog": "ph_ecog",
            "ph.karno": "ph_karno",
            "pat.karno": "pat_karno",
            "meal.cal": "meal_cal",
            "wt.loss": "wt_loss",
        },
    ),
    Table(
        name="actg175",
        package="lifelines",
        path="lifelines/datasets/ACTG175.csv",
        about="2139 adults with HIV in the trial ACTG 175",
        numbers=(
            Column("age", "age in years"),
            Column("wtkg", "weight in kg"),
            Column("preanti", "days of antiretroviral therapy before the trial"),
            Column("cd40", "CD4 count at the start"),
            Column("cd420", "CD4 count at 20 weeks"),
            Column("cd80", "CD8 count at the start"),
            Column("cd820", "CD8 count at 20 weeks"),
        ),
        groups=(
            Group("treat", {0: "patients on zidovudine alone", 1: "patients on the other treatments"}),
            Group("gender", {0: "women", 1: "men"}),
            Group("symptom", {0: "asymptomatic patients", 1: "symptomatic patients"}),
            Group("hemo", {0: "patients without haemophilia", 1: "patients with haemophilia"}),
        ),
        survival=("days", "cens", "days"),
    ),
    Table(
        name="kidney",
        package="lifelines",
        path="lifelines/datasets/kidney_transplant.csv",
        about="863 patients after kidney transplantation",
        numbers=(Column("age", "age in years"), Column("time", "follow-up in days")),
        groups=(
            Group("white_male", {1: "white men", 0: "other patients"}),
            Group("black_male", {1: "black men", 0: "other patients"}),
        ),
        survival=("time", "death", "days"),
    ),
    Table(
        name="breast",
        package="scikit-learn",
        path="sklearn/datasets/data/breast_cancer.csv",
        about="569 breast masses measured in digitised aspirates (Wisconsin Diagnostic Breast Cancer)",
        numbers=tuple(Column(f"mean_{name}", f"mean {name} of the nuclei") for name in _TUMOUR),
        groups=(Group("benign", {0: "malignant masses", 1: "benign masses"}),),
        header=(*(f"{kind}_{name}" for kind in ("mean", "error", "worst") for name in _TUMOUR), "benign"),
        skip=1,
    ),
    Table(
        name="diabetes",
        package="scikit-learn",
        path="sklearn/datasets/data/diabetes_data_raw.csv.gz",
        about="442 patients with diabetes (Efron, Hastie, Johnstone and Tibshirani 2004)",
        numbers=(
            Column("age", "age in years"),
            Column("bmi", "body mass index in kg/m2"),
            Column("bp", "mean blood pressure in mmHg"),
            Column("chol", "total cholesterol in mg/dL"),
            Column("ldl", "LDL in mg/dL"),
            Column("hdl", "HDL in mg/dL"),
            Column("glu", "glucose in mg/dL"),
        ),
        groups=(_SEX,),
        header=("age", "sex", "bmi", "bp", "chol", "ldl", "hdl", "tch", "ltg", "glu"),
        separator=" ",
    ),
    Table(
        name="heart",
        package="statsmodels",
        path="statsmodels/datasets/heart/heart.csv",
        about="69 patients after heart transplantation at Stanford (Miller 1976)",
        numbers=(Column("age", "age in years"), Column("survival", "survival in days")),
        survival=("survival", "censors", "days"),
    ),
    Table(
        name="rand",
        package="statsmodels",
        path="statsmodels/datasets/randhie/randhie.csv",
        about="20190 person-years of the RAND Health Insurance Experiment",
        numbers=(
            Column("mdvis", "number of outpatient visits to a doctor"),
            Column("disea", "number of chronic diseases"),
            Column("lncoins", "logarithm of coinsurance plus 1"),
        ),
        groups=(
            Group("physlm", {1: "persons with a physical limitation", 0: "persons without a physical limitation"}),
            Group("idp", {1: "persons with an individual deductible", 0: "persons without an individual deductible"}),
            Group("hlthp", {1: "persons in poor health", 0: "persons not in poor health"}),
        ),
    ),
)
"""All tables, in a fixed order."""

BY_NAME = {table.name: table for table in TABLES}


@cache
def csv_file(name: str) -> Path:
    """The table as a plain CSV with a header, in the cache.

    Raises:
        DataError: The package that carries it is not installed.
    """
    table = BY_NAME[name]
    source = _installed(table)
    version = importlib.metadata.version(table.package)
    target = cache_folder() / "data" / "biostat" / f"{table.package}-{version}" / f"{name}.csv"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_rows(table, source))
        os.replace(temporary, target)
    return target


def _installed(table: Table) -> Path:
    try:
        path = Path(str(importlib.metadata.distribution(table.package).locate_file(table.path)))
    except importlib.metadata.PackageNotFoundError:
        path = Path(table.path)
    if not path.is_absolute() or not path.is_file():
        raise DataError(
            f"biostat asks about a table of {table.package}, which is not installed",
            remedy=f"pip install {' '.join(PACKAGES)} (their tables are read, their code is not run)",
        )
    return path


def _rows(table: Table, source: Path) -> list[list[str]]:
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file, delimiter=table.separator) if row][table.skip :]
    header, body = (list(table.header), rows) if table.header else (rows[0], rows[1:])
    return [[table.names.get(name, name) or "row" for name in header], *body]


@cache
def frame(name: str) -> pd.DataFrame:
    """The table in memory; not to be changed."""
    return pd.read_csv(csv_file(name))
