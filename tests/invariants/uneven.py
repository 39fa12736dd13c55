"""Seeded rows of uneven lengths."""

import dataclasses
import random

import torch

from copilot.models.tiny import VOCABULARY
from copilot.online.rows import TrainRow


def make_row(rng: random.Random, prompt: list[int], *, turns: int, episode: int, group: int) -> TrainRow:
    """A row of ``turns`` sampled messages with environment output between them."""
    ids, trained = list(prompt), list[int]()
    for turn in range(turns):
        if turn:
            ids += [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(2, 7))]
        length = rng.randrange(1, 12)
        trained += range(len(ids), len(ids) + length)
        ids += [rng.randrange(3, VOCABULARY) for _ in range(length)]
    count = len(trained)
    return TrainRow(
        ids=ids,
        trained=trained,
        server_logps_N=torch.tensor([-rng.random() * 5 for _ in range(count)]),
        versions_N=torch.zeros(count, dtype=torch.long),
        temperature=0.7,
        episode=episode,
        group=group,
    )


def make_rows(groups: int, size: int, *, seed: int = 0, turns: int = 3) -> list[TrainRow]:
    """``size`` rows for each of ``groups`` prompts, one to ``turns`` turns each."""
    rng, rows = random.Random(seed), list[TrainRow]()
    for group in range(groups):
        prompt = [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(3, 25))]
        for _ in range(size):
            rows.append(make_row(rng, prompt, turns=rng.randint(1, turns), episode=len(rows), group=group))
    return rows


def grown_from(row: TrainRow) -> list[TrainRow]:
    """A copy of ``row``, and one that takes another last token and goes on from there."""
    last = row.trained[-1]
    fork = [*row.ids[:last], 3 + (row.ids[last] - 2) % (VOCABULARY - 3)]
    more = make_row(random.Random(len(row)), fork, turns=1, episode=row.episode, group=row.group)
    fork_row = dataclasses.replace(
        more,
        trained=[*row.trained, *more.trained],
        server_logps_N=torch.cat([row.server_logps_N, more.server_logps_N]),
        versions_N=torch.cat([row.versions_N, more.versions_N]),
    )
    return [dataclasses.replace(row), fork_row]
