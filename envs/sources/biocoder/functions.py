"""Which functions of Biopython and scikit-bio are asked for, and what hidden inputs they get.

Expected outputs are what the installed function itself returns; slices and outputs are kept in the cache, since
importing scikit-bio takes seconds.
"""

import importlib
import importlib.metadata
import inspect
import json
import os
import random
import warnings
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import Any

from pydantic import BaseModel, JsonValue

from copilot.envs.sandboxes.inside.values import NoJsonForm, dump
from copilot.envs.sources.biocoder.slices import NotSliceable, slice_with_hole
from copilot.envs.sqlite_files import cache_folder
from copilot.errors import DataError

CASES = 12
"""Hidden inputs per function."""

Draw = Callable[[random.Random], list[JsonValue]]


def _dna(rng: random.Random, low: int = 12, high: int = 60) -> str:
    return "".join(rng.choices("ACGT", k=rng.randint(low, high)))


def _protein(rng: random.Random) -> str:
    return "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=rng.randint(5, 40)))


def _counts(rng: random.Random) -> list[JsonValue]:
    return [[rng.choice((0, 1, 1, 2, 3, 5, 8, 13, 20)) for _ in range(rng.randint(6, 14))]]


def _one(sequence: Callable[[random.Random], str]) -> Draw:
    return lambda rng: [sequence(rng)]


def _with_window(rng: random.Random) -> list[JsonValue]:
    return [_dna(rng, 40, 90), rng.randint(8, 20)]


def _three_letter(rng: random.Random) -> list[JsonValue]:
    names = [
        "Ala", "Cys", "Asp", "Glu", "Phe", "Gly", "His", "Ile", "Lys", "Leu",
        "Met", "Asn", "Pro", "Gln", "Arg", "Ser", "Thr", "Val", "Trp", "Tyr",
    ]  # fmt: skip
    return ["".join(rng.choices(names, k=rng.randint(4, 20)))]


def _motif(rng: random.Random) -> list[JsonValue]:
    return [_dna(rng, 50, 120), "".join(rng.choices("ACGTRYN", k=rng.randint(2, 4)))]


def _chemicals(rng: random.Random) -> list[JsonValue]:
    return [round(rng.uniform(45, 75), 2), rng.randint(0, 10), rng.randint(0, 30)]


_ALPHA = (
    "ace", "berger_parker_d", "brillouin_d", "chao1", "chao1_ci", "dominance", "doubles", "enspie", "esty_ci",
    "fisher_alpha", "goods_coverage", "heip_e", "hill", "inv_simpson", "kempton_taylor_q", "margalef", "mcintosh_d",
    "mcintosh_e", "menhinick", "osd", "pielou_e", "renyi", "robbins", "shannon", "simpson", "simpson_e", "singles",
    "sobs", "strong", "tsallis", "gini_index",
)  # fmt: skip

FUNCTIONS: dict[tuple[str, str], Draw] = {
    ("Bio.SeqUtils", "gc_fraction"): _one(_dna),
    ("Bio.SeqUtils", "GC123"): _one(_dna),
    ("Bio.SeqUtils", "GC_skew"): _with_window,
    ("Bio.SeqUtils", "nt_search"): _motif,
    ("Bio.SeqUtils", "seq3"): _one(_protein),
    ("Bio.SeqUtils", "seq1"): _three_letter,
    ("Bio.SeqUtils.MeltingTemp", "chem_correction"): _chemicals,
    ("Bio.SeqUtils.CheckSum", "crc64"): _one(_protein),
    ("Bio.SeqUtils.CheckSum", "gcg"): _one(_protein),
    ("Bio.SeqUtils.CheckSum", "seguid"): _one(_protein),
    ("Bio.SeqUtils.lcc", "lcc_simp"): _one(_dna),
    ("Bio.SeqUtils.lcc", "lcc_mult"): _with_window,
    **{("skbio.diversity.alpha", name): _counts for name in _ALPHA},
}
"""Module and name of every function, and how its arguments are drawn."""


class Hole(BaseModel):
    """A function to be completed."""

    module: str
    name: str
    version: str
    """Distribution and its version."""
    signature: str
    doc: str
    slice: str
    solution: str
    inputs: list[JsonValue]
    outputs: list[JsonValue]


@lru_cache(maxsize=1)
def holes() -> tuple[tuple[Hole, ...], dict[str, str]]:
    """All functions that can be asked for, and those that cannot with the reason.

    Raises:
        DataError: Biopython or scikit-bio is not installed.
    """
    versions = [_version(name) for name in ("biopython", "scikit-bio")]
    cache = cache_folder() / "data" / "biocoder" / ("_".join(versions) + "-3.json")
    if not cache.exists():
        found, refused = _build(dict(zip(("Bio", "skbio"), versions, strict=True)))
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f".{cache.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"holes": [hole.model_dump() for hole in found], "refused": refused}))
        os.replace(temporary, cache)
    record = json.loads(cache.read_text())
    return tuple(Hole.model_validate(hole) for hole in record["holes"]), record["refused"]


def _version(distribution: str) -> str:
    try:
        return f"{distribution}-{importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"biocoder's function completion needs {distribution}, which is not installed",
            remedy="pip install 'med-copilot[science]'",
        ) from error


def _build(versions: dict[str, str]) -> tuple[list[Hole], dict[str, str]]:
    found, refused = [], {}
    for (module, name), draw in FUNCTIONS.items():
        try:
            found.append(_hole(module, name, draw, versions[module.split(".")[0]]))
        except (NotSliceable, NoJsonForm, AttributeError) as error:
            refused[f"{module}.{name}"] = str(error)
    return found, refused


def _hole(module: str, name: str, draw: Draw, version: str) -> Hole:
    function: FunctionType = getattr(importlib.import_module(module), name)
    text, solution = slice_with_hole(function)
    rng = random.Random(f"{module}.{name}")
    inputs = [draw(rng) for _ in range(CASES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs: list[Any] = [json.loads(dump(function(*arguments))) for arguments in inputs]
    plain = inspect.unwrap(function)
    return Hole(
        module=module,
        name=plain.__name__,
        version=version,
        signature=f"{plain.__name__}{inspect.signature(plain)}",
        doc=inspect.cleandoc(plain.__doc__ or ""),
        slice=text,
        solution=solution,
        inputs=list(inputs),
        outputs=outputs,
    )
