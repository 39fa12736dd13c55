"""Which task a group is played on: passes through all tasks, mixed with draws by difficulty.

A pass is shuffled within each kind of question and spreads every kind evenly, as what a policy does not meet for some
steps is overwritten by what it does meet. A task the policy solves half the time teaches most: its weight is
``p (1 - p)`` of its running success rate, with 1/2 for tasks not seen yet. Draws are a function of seed and index; each
is on disk before it is played, so a killed run plays the same tasks again, long ones included.
"""

import json
import os
import random
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from copilot.online.config import CurriculumSettings
from copilot.rollout.seeds import derive

_FLOOR = 0.01


def evenly_spread(kinds: Mapping[str, str], chooser: random.Random) -> list[str]:
    """An order in which any stretch has of each kind about its share: the i-th of n comes at ``(i + u) / n``."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for task, kind in kinds.items():
        by_kind[kind].append(task)
    places: dict[str, float] = {}
    for tasks in by_kind.values():
        chooser.shuffle(tasks)
        offset = chooser.random()
        places.update({task: (number + offset) / len(tasks) for number, task in enumerate(tasks)})
    return sorted(places, key=places.__getitem__)


class Curriculum:
    """Deals tasks.

    Args:
        kinds: All tasks in a stable order, each with its kind of question.
        settings: The mixture.
        seed: The run's seed.
        file: Where draws are recorded; earlier draws there are kept.
    """

    def __init__(self, kinds: Mapping[str, str], settings: CurriculumSettings, *, seed: int, file: Path) -> None:
        self._kinds, self._settings, self._seed, self._file = kinds, settings, seed, file
        self._rates: dict[str, float] = {}
        self.dealt: list[str] = []
        """Task of each index dealt so far."""
        self._passed = 0
        self._pass: tuple[int, list[str]] = (-1, [])
        self._read()

    def deal(self, until: int) -> list[str]:
        """Deal every index below ``until``; returns the tasks of the new ones."""
        before = len(self.dealt)
        lines = []
        while len(self.dealt) < until:
            chooser = random.Random(derive(self._seed, "deal", len(self.dealt)))
            by_difficulty = chooser.random() < self._settings.weight
            task = self._by_difficulty(chooser) if by_difficulty else self._next()
            self._passed += not by_difficulty
            self.dealt.append(task)
            lines.append(json.dumps({"task": task, "by_difficulty": by_difficulty}) + "\n")
        if lines:
            with open(self._file, "a", encoding="utf-8") as file:
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())
        return self.dealt[before:]

    def learn(self, rates: Mapping[str, float]) -> None:
        """Take note of success rates of groups just finished, by task."""
        for task, rate in rates.items():
            known = self._rates.get(task, rate)
            self._rates[task] = known + self._settings.memory * (rate - known)

    def unsolved_kinds(self) -> list[str]:
        """Kinds of question that were played and never right; what a policy practises overwrites them."""
        played = {self._kinds[task] for task in self._rates}
        return sorted(played - {self._kinds[task] for task, rate in self._rates.items() if rate > 0})

    def state(self) -> dict[str, float]:
        """What :meth:`restore` takes back."""
        return dict(self._rates)

    def restore(self, state: Mapping[str, float]) -> None:
        """The running rates as they were."""
        self._rates = dict(state)

    def _by_difficulty(self, chooser: random.Random) -> str:
        rates = [self._rates.get(task, 0.5) for task in self._kinds]
        return chooser.choices(list(self._kinds), [max(_FLOOR, rate * (1 - rate)) for rate in rates])[0]

    def _next(self) -> str:
        epoch, place = divmod(self._passed, len(self._kinds))
        if self._pass[0] != epoch:  # ordering all tasks anew for every draw would cost seconds a step
            self._pass = epoch, evenly_spread(self._kinds, random.Random(derive(self._seed, "pass", epoch)))
        return self._pass[1][place]

    def _read(self) -> None:
        if not self._file.is_file():
            return
        text = self._file.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a kill can leave half a line
            self._file.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            record = json.loads(line)
            self.dealt.append(record["task"])
            self._passed += not record["by_difficulty"]
