"""Small string and graph problems of bioinformatics: own statements and solutions, own hidden inputs.

Where the user has them, the input and output pairs of danhalligan/rosalind.info (MIT) are the first case; the problem
texts of rosalind.info are not used. Texts are compared token by token, numbers within a tolerance.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from copilot.envs.data_folder import data_root
from copilot.errors import DataError

FOLDER = "rosalind_io"
"""Name looked for under ``$MED_COPILOT_DATA``."""
CASES = 8
"""Own hidden inputs per problem."""


@dataclass(frozen=True)
class Problem:
    """One problem: ``solve(text)`` returns the output as text."""

    key: str
    statement: str
    solution: str
    draw: Callable[[random.Random], str]


def _dna(rng: random.Random, low: int = 20, high: int = 80) -> str:
    return "".join(rng.choices("ACGT", k=rng.randint(low, high)))


def _mutated(rng: random.Random) -> str:
    strand = _dna(rng)
    return strand + "\n" + "".join(rng.choice("ACGT") if rng.random() < 0.3 else base for base in strand)


def _within(rng: random.Random) -> str:
    motif = _dna(rng, 2, 4)
    return _dna(rng) + motif + _dna(rng, 5, 20) + motif + "\n" + motif


def _fasta(rng: random.Random, count: int, size: int) -> str:
    return "\n".join(f">S_{n}\n{_dna(rng, size, size)}" for n in range(count))


def _shared(rng: random.Random) -> str:
    core = _dna(rng, 9, 12)
    return "\n".join(f">S_{n}\n{_dna(rng, 8, 20)}{core}{_dna(rng, 8, 20)}" for n in range(3))


def _edges(rng: random.Random) -> str:
    nodes = rng.randint(8, 16)
    edges = sorted({tuple(rng.sample(range(1, nodes + 1), 2)) for _ in range(nodes)})
    return "\n".join([f"{nodes} {len(edges)}", *(f"{a} {b}" for a, b in edges)])


_READ = """\
    records = {}
    for part in text.split('>')[1:]:
        name, _, body = part.partition('\\n')
        records[name.strip()] = body.replace('\\n', '')
"""

PROBLEMS = (
    Problem(
        "dna",
        "The text is one DNA strand. Return how often A, C, G and T occur in it, separated by spaces.",
        "def solve(text):\n    return ' '.join(str(text.count(base)) for base in 'ACGT')",
        _dna,
    ),
    Problem(
        "rna",
        "The text is one DNA strand. Return its transcript, every T replaced by U.",
        "def solve(text):\n    return text.strip().replace('T', 'U')",
        _dna,
    ),
    Problem(
        "revc",
        "The text is one DNA strand. Return its reverse complement.",
        "def solve(text):\n    return text.strip()[::-1].translate(str.maketrans('ACGT', 'TGCA'))",
        _dna,
    ),
    Problem(
        "hamm",
        "The text holds two DNA strands of equal length, one a line. Return the number of positions at which they "
        "differ.",
        "def solve(text):\n    a, b = text.split()\n    return str(sum(x != y for x, y in zip(a, b)))",
        _mutated,
    ),
    Problem(
        "subs",
        "The first line is a DNA strand, the second a motif. Return all positions (from 1) at which the motif "
        "begins, also "
        "where it overlaps itself, separated by spaces.",
        "def solve(text):\n    strand, motif = text.split()\n    return ' '.join(str(i + 1) for i in "
        "range(len(strand)) "
        "if strand.startswith(motif, i))",
        _within,
    ),
    Problem(
        "gc",
        "The text holds DNA records in FASTA form. Return the name of the record with the largest percentage of G "
        "and C, then "
        "that percentage on the next line.",
        f"def solve(text):\n{_READ}    share = {{n: 100 * sum(b in 'GC' for b in s) / len(s) for n, s in "
        f"records.items()}}\n"
        "    best = max(share, key=share.get)\n    return f'{best}\\n{share[best]:.6f}'",
        lambda rng: _fasta(rng, 4, 60),
    ),
    Problem(
        "fib",
        "The text holds n and k. Rabbits that are a month old bear k pairs each month and never die; there is one "
        "newborn pair "
        "in month 1. Return the number of pairs in month n.",
        "def solve(text):\n    n, k = map(int, text.split())\n    young, old = 1, 0\n    for _ in range(n - 1):\n"
        "        young, old = k * old, old + young\n    return str(young + old)",
        lambda rng: f"{rng.randint(3, 30)} {rng.randint(1, 4)}",
    ),
    Problem(
        "iprb",
        "The text holds k, m and n: a population has k individuals homozygous dominant, m heterozygous and n "
        "homozygous "
        "recessive. Two are drawn and mate; return the probability that a child shows the dominant trait.",
        "def solve(text):\n    k, m, n = map(int, text.split())\n    t = k + m + n\n"
        "    recessive = n * (n - 1) + m * n + m * (m - 1) / 4\n    return f'{1 - recessive / (t * (t - 1)):.5f}'",
        lambda rng: " ".join(str(rng.randint(2, 30)) for _ in range(3)),
    ),
    Problem(
        "lcsm",
        "The text holds DNA records in FASTA form. Return the longest string that occurs in all of them.",
        f"def solve(text):\n{_READ}    first, *rest = sorted(records.values(), key=len)\n"
        "    for size in range(len(first), 0, -1):\n        for i in range(len(first) - size + 1):\n"
        "            if all(first[i:i + size] in other for other in rest):\n                return first[i:i + "
        "size]\n    return ''",
        _shared,
    ),
    Problem(
        "tran",
        "The text holds two DNA records of equal length in FASTA form. Return the ratio of transitions (A and G, C "
        "and T "
        "exchanged) to transversions (all other differences).",
        f"def solve(text):\n{_READ}    a, b = records.values()\n    pairs = [{{x, y}} for x, y in zip(a, b) if x != "
        f"y]\n"
        "    same = sum(p in ({'A', 'G'}, {'C', 'T'}) for p in pairs)\n    return str(same / (len(pairs) - same))",
        lambda rng: _fasta(rng, 2, 80),
    ),
    Problem(
        "edit",
        "The text holds two strings in FASTA form. Return the smallest number of substitutions, insertions and "
        "deletions of "
        "single letters that turn one into the other.",
        f"def solve(text):\n{_READ}    a, b = records.values()\n    row = list(range(len(b) + 1))\n"
        "    for i, x in enumerate(a, 1):\n        last, row[0] = row[0], i\n        for j, y in enumerate(b, 1):\n"
        "            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))\n    return str(row[-1])",
        lambda rng: _fasta(rng, 2, 40),
    ),
    Problem(
        "deg",
        "The first line gives the numbers of nodes and edges of an undirected graph, each further line an edge. "
        "Return the "
        "degrees of the nodes 1, 2, ... separated by spaces.",
        "def solve(text):\n    (n, _), *edges = [list(map(int, line.split())) for line in text.strip().splitlines()]\n"
        "    return ' '.join(str(sum(edge.count(node) for edge in edges)) for node in range(1, n + 1))",
        _edges,
    ),
    Problem(
        "cc",
        "The first line gives the numbers of nodes and edges of an undirected graph, each further line an edge. "
        "Return the "
        "number of connected components.",
        "def solve(text):\n    (n, _), *edges = [list(map(int, line.split())) for line in text.strip().splitlines()]\n"
        "    root = list(range(n + 1))\n    def find(x):\n        while root[x] != x:\n            x = root[x]\n     "
        "   return x\n"
        "    for a, b in edges:\n        root[find(a)] = find(b)\n    return str(sum(find(x) == x for x in range(1, "
        "n + 1)))",
        _edges,
    ),
    Problem(
        "ins",
        "The first line is the length of an array, the second the array. Return how many swaps of neighbours "
        "insertion sort "
        "makes on it.",
        "def solve(text):\n    _, *a = map(int, text.split())\n    return str(sum(a[i] > a[j] for j in range(len(a)) "
        "for i in range(j)))",
        lambda rng: f"12\n{' '.join(str(rng.randint(1, 60)) for _ in range(12))}",
    ),
    Problem(
        "maj",
        "The first line gives the number k of arrays and their length n, each further line an array. For each array "
        "return "
        "the element that occurs more than n / 2 times, or -1, separated by spaces.",
        "def solve(text):\n    lines = [line.split() for line in text.strip().splitlines()]\n    n = int(lines[0][1])\n"
        "    best = [max(a, key=a.count) for a in lines[1:]]\n"
        "    return ' '.join(b if 2 * a.count(b) > n else '-1' for a, b in zip(lines[1:], best))",
        lambda rng: "4 7\n" + "\n".join(" ".join(str(rng.choice((1, 1, 1, 2, 3))) for _ in range(7)) for _ in range(4)),
    ),
)
"""All problems."""


def tokens(text: JsonValue) -> JsonValue:
    """A text as its words, with decimal numbers as numbers; anything else is left as it is."""
    return [_token(word) for word in text.split()] if isinstance(text, str) and len(text) < 1_000_000 else text


def _token(word: str) -> JsonValue:
    try:
        return float(word) if "." in word else word
    except ValueError:  # a word with a dot in it
        return word


def cases(problem: Problem) -> tuple[list[JsonValue], list[JsonValue]]:
    """Hidden inputs and expected outputs: the user's pair where there is one, then own ones."""
    world: dict[str, Any] = {}
    exec(problem.solution, world)  # the project's own text
    rng = random.Random(f"rosalind/{problem.key}")
    texts = [problem.draw(rng) for _ in range(CASES)]
    pairs = [(text, world["solve"](text)) for text in texts]
    pair = _pair(problem.key)
    pairs = [pair, *pairs] if pair else pairs
    return [[text] for text, _ in pairs], [tokens(output) for _, output in pairs]


def _pair(key: str) -> tuple[str, str] | None:
    try:
        folder = data_root("biocoder") / FOLDER
    except DataError:  # the pairs are a bonus
        return None
    found: list[Path] = sorted(folder.glob(f"*/{key}.in.txt"))
    if not found:
        return None
    return found[0].read_text(), found[0].with_name(f"{key}.out.txt").read_text()
