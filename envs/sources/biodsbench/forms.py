"""The look-alike: analyses of one breast cancer study in BioDSBench's form, with asserts on several variables.

Expected values are computed on the host by the template's own code; asserts are made of them.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from copilot.envs.data_folder import find_folder

FOLDERS = ("cbioportal_acbc_mskcc_2015", "acbc_mskcc_2015")
"""Names looked for under ``$MED_COPILOT_DATA``."""
FILES = ("data_clinical_patient.csv", "data_clinical_sample.csv", "data_cna.csv", "data_mutations.csv", "data_sv.csv")
"""Tables of the study."""

_READ = "import pandas as pd\n"
_MUTATIONS = _READ + "m = pd.read_csv('/data/data_mutations.csv')\n"
_PART = {
    "all": ("", ""),
    "snp": ("Use only single nucleotide changes (Variant_Type SNP). ", "m = m[m['Variant_Type'] == 'SNP']\n"),
    "missense": (
        "Use only missense mutations (Variant_Classification Missense_Mutation). ",
        "m = m[m['Variant_Classification'] == 'Missense_Mutation']\n",
    ),
    "silent": ("Leave out silent mutations. ", "m = m[m['Variant_Classification'] != 'Silent']\n"),
}


@dataclass(frozen=True)
class Form:
    """One template; ``{slot}`` stands for a drawn value."""

    name: str
    question: str
    code: str
    checks: tuple[str, ...]
    """Expressions over the variables; each becomes an assert on its value."""
    held_out: bool = False


FORMS = (
    Form(
        "burden",
        "{part_words}Count mutations per sample with at least {depth} alternate reads (t_alt_count). Save a Series "
        "`burden` "
        "indexed by Tumor_Sample_Barcode, and the sample with most mutations as `top_sample`, its count as "
        "`top_count`.",
        _MUTATIONS
        + "{part_code}m = m[m['t_alt_count'] >= {depth}]\nburden = m.groupby('Tumor_Sample_Barcode').size()\n"
        "top_count = int(burden.max())\ntop_sample = burden.idxmax()",
        ("len(burden)", "int(burden.sum())", "int(burden.max())", "int(top_count)", "int(burden[top_sample])"),
    ),
    Form(
        "classes",
        "{part_words}Among the mutations on chromosomes {chromosomes}, count each Variant_Classification. Save a "
        "dictionary "
        "`class_counts`, and the share of the commonest class as `top_share`.",
        _MUTATIONS + "{part_code}m = m[m['Chromosome'].astype(str).isin({chromosomes})]\n"
        "counts = m['Variant_Classification'].value_counts()\nclass_counts = counts.to_dict()\n"
        "top_share = counts.max() / counts.sum()",
        ("len(class_counts)", "int(sum(class_counts.values()))", "int(max(class_counts.values()))", "float(top_share)"),
    ),
    Form(
        "fraction",
        "{part_words}The variant allele fraction is t_alt_count / (t_alt_count + t_ref_count). Save the fractions of "
        "sample "
        "{sample} as a Series `vaf`, their median as `median_vaf`, and how many exceed {fraction} as `n_high`.",
        _MUTATIONS + "{part_code}m = m[m['Tumor_Sample_Barcode'] == '{sample}']\n"
        "vaf = m['t_alt_count'] / (m['t_alt_count'] + m['t_ref_count'])\nmedian_vaf = vaf.median()\n"
        "n_high = int((vaf > {fraction}).sum())",
        ("len(vaf)", "float(vaf.sum())", "float(median_vaf)", "int(n_high)"),
    ),
    Form(
        "copy_number",
        "In data_cna.csv, samples are columns. For the genes {genes}, save a DataFrame `cna` with one row per gene "
        "(index "
        "Hugo_Symbol, as given) and one column per sample, and dictionaries `gains` and `losses` from gene to the "
        "number of "
        "samples with a positive and a negative value.",
        _READ + "c = pd.read_csv('/data/data_cna.csv').drop_duplicates('Hugo_Symbol').set_index('Hugo_Symbol')\n"
        "cna = c.drop(columns='Entrez_Gene_Id').loc[{genes}]\ngains = (cna > 0).sum(axis=1).to_dict()\n"
        "losses = (cna < 0).sum(axis=1).to_dict()",
        (
            "cna.shape",
            "int(cna.abs().to_numpy().sum())",
            "int(sum(gains.values()))",
            "int(losses['{gene}'])",
            "int(gains['{gene}'])",
        ),
    ),
    Form(
        "merge",
        "Join data_clinical_patient.csv and data_clinical_sample.csv on PATIENT_ID into `merged`. Save the mean "
        "TMB_NONSYNONYMOUS "
        "of patients aged {age} or more as `tmb_old`, and of the younger as `tmb_young`.",
        _READ
        + "p = pd.read_csv('/data/data_clinical_patient.csv')\ns = pd.read_csv('/data/data_clinical_sample.csv')\n"
        "merged = p.merge(s, on='PATIENT_ID')\nold = merged['AGE'] >= {age}\n"
        "tmb_old = merged.loc[old, 'TMB_NONSYNONYMOUS'].mean()\ntmb_young = merged.loc[~old, "
        "'TMB_NONSYNONYMOUS'].mean()",
        ("merged.shape[0]", "float(merged['AGE'].sum())", "float(tmb_old)", "float(tmb_young)"),
    ),
    Form(
        "matrix",
        "{part_words}Make an oncoprint matrix `matrix`: one row per sample {samples} (in this order), one column per "
        "chromosome "
        "{chromosomes} (as text, in this order), 1 where the sample has a mutation there and else 0. Save row sums "
        "as a list "
        "`row_sums`.",
        _MUTATIONS + "{part_code}m['Chromosome'] = m['Chromosome'].astype(str)\n"
        "seen = set(zip(m['Tumor_Sample_Barcode'], m['Chromosome']))\n"
        "matrix = pd.DataFrame([[int((s, c) in seen) for c in {chromosomes}] for s in {samples}], index={samples}, "
        "columns={chromosomes})\nrow_sums = matrix.sum(axis=1).tolist()",
        ("matrix.shape", "[int(x) for x in row_sums]", "[int(x) for x in matrix.sum(axis=0)]"),
        held_out=True,
    ),
    Form(
        "substitutions",
        "{part_words}Among single nucleotide changes of samples {samples}, count transitions (A<->G, C<->T) and "
        "transversions. "
        "Save `transitions`, `transversions` and their ratio `ratio`.",
        _MUTATIONS + "{part_code}m = m[(m['Variant_Type'] == 'SNP') & m['Tumor_Sample_Barcode'].isin({samples})]\n"
        "pairs = m['Reference_Allele'] + m['Tumor_Seq_Allele2']\ntransitions = int(pairs.isin(['AG', 'GA', 'CT', "
        "'TC']).sum())\n"
        "transversions = len(m) - transitions\nratio = transitions / transversions",
        ("int(transitions)", "int(transversions)", "float(ratio)"),
        held_out=True,
    ),
    Form(
        "correlation",
        "{part_words}Count mutations per sample with at least {depth} alternate reads, join with AGE of the patients "
        "(PATIENT_ID equals the sample's name), and save Spearman's correlation of count and age as `rho`, the "
        "joined table as "
        "`joined` with columns `count` and `AGE`.",
        _MUTATIONS + "{part_code}m = m[m['t_alt_count'] >= {depth}]\n"
        "p = pd.read_csv('/data/data_clinical_patient.csv').set_index('PATIENT_ID')\n"
        "joined = m.groupby('Tumor_Sample_Barcode').size().rename('count').to_frame().join(p['AGE'], how='inner')\n"
        "rho = joined['count'].corr(joined['AGE'], method='spearman')",
        ("len(joined)", "int(joined['count'].sum())", "float(rho)"),
        held_out=True,
    ),
)
"""All templates."""


def folder() -> Path:
    """Where the study lies.

    Raises:
        DataError: Nowhere.
    """
    return find_folder("biodsbench", FOLDERS)


@lru_cache(maxsize=1)
def _names(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Samples, chromosomes and genes of the study."""
    mutations = pd.read_csv(root / "data_mutations.csv", usecols=["Tumor_Sample_Barcode", "Chromosome"])
    genes = pd.read_csv(root / "data_cna.csv", usecols=["Hugo_Symbol"])["Hugo_Symbol"].drop_duplicates()
    columns = (mutations["Tumor_Sample_Barcode"], mutations["Chromosome"].astype(str))
    samples, chromosomes = (sorted(column.unique()) for column in columns)
    return samples, chromosomes, sorted(genes)


def draw(root: Path, rng: random.Random) -> dict[str, Any]:
    """Values of all slots."""
    samples, chromosomes, genes = _names(root)
    part = rng.choice(list(_PART))
    chosen = sorted(rng.sample(genes, 4))
    return {
        "part_words": _PART[part][0],
        "part_code": _PART[part][1],
        "depth": rng.randint(5, 40),
        "fraction": round(rng.uniform(0.1, 0.6), 2),
        "age": rng.randint(45, 75),
        "sample": rng.choice(samples),
        "samples": sorted(rng.sample(samples, 5)),
        "chromosomes": sorted(rng.sample(chromosomes, 6)),
        "genes": chosen,
        "gene": rng.choice(chosen),
    }


def expected(form: Form, slots: Mapping[str, Any], root: Path) -> tuple[str, ...] | None:
    """The asserts, with values computed by the template's own code; ``None`` where a value is not finite."""
    world: dict[str, Any] = {}
    try:
        exec(form.code.format(**slots).replace("/data/", f"{root}/"), world)  # the project's own text
    except ZeroDivisionError:
        return None
    checks = []
    for check in form.checks:
        expression = check.format(**slots)
        value = eval(expression, {"__builtins__": __builtins__, **world})
        if isinstance(value, float):
            if not math.isfinite(value):
                return None
            checks.append(f"assert abs({expression} - {value!r}) <= 1e-6 * max(1, abs({value!r}))")
        else:
            checks.append(f"assert {expression} == {value!r}")
    return tuple(checks)
