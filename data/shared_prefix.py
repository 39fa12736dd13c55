"""DPO pairs in the paper's form (arXiv 2506.04405): after the same initial interaction, the turn that led to success
is chosen and an erroneous attempt rejected.

The prefix is the recorded ids before the erroneous turn. The chosen turn comes from the same episode or from another
attempt at the task that went through the very same ids (at the least, the prompt). Two guards the paper does not have:
a ``submit`` is never chosen, for without the work before it it is a guess, and neither is a cell that uses names which
only the turns left out between prefix and cell had bound.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from copilot.data.pairs import Side, pair_row
from copilot.data.rows import Ref, Row, Sample
from copilot.data.trajectory import SuccessRule, TokenRow, Trajectory, Turn, TurnSpan
from copilot.envs.actions import ExecuteCode, Submit


@dataclass(frozen=True)
class _Spot:
    """A turn in a token row."""

    sample: Sample
    row: TokenRow
    span: TurnSpan

    @property
    def ids(self) -> tuple[int, ...]:
        return self.row.ids[self.span.start : self.span.end]

    @property
    def prefix(self) -> tuple[int, ...]:
        return self.row.ids[: self.span.start]

    def side(self) -> Side:
        return Side(self.sample, self.ids, (1,) * len(self.ids))


def shared_prefix(
    attempts: Sequence[Sample], success: SuccessRule, rows_dropped: Counter[str], reasons: dict[Ref, str]
) -> list[Row]:
    """The pairs of one task: one for each erroneous turn that has a counterpart.

    Args:
        attempts: All trajectories of one task.
        success: Which success rate makes an episode's turn a chosen one.
        rows_dropped: Counts erroneous turns without a counterpart, by reason.
        reasons: Filled for the attempts concerned.
    """
    winners = [spot for sample in attempts if (spot := _winner(sample, success)) is not None]
    rows: list[Row] = []
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for sample in attempts:
        spots = _erroneous(sample)
        if not spots:
            reasons[sample.ref] = "no erroneous turn" if sample.trajectory.rows else "no token ids"
        for rejected in spots:
            chosen = _counterpart(rejected, winners)
            if isinstance(chosen, _Spot) and (rejected.prefix, chosen.ids, rejected.ids) in seen:
                chosen = "duplicate pair"
            if isinstance(chosen, str):
                rows_dropped[f"shared_prefix: {chosen}"] += 1
                reasons[sample.ref] = chosen
            else:
                seen.add((rejected.prefix, chosen.ids, rejected.ids))
                rows.append(pair_row("shared_prefix", rejected.prefix, chosen.side(), rejected.side()))
    return rows


def _counterpart(rejected: _Spot, winners: Sequence[_Spot]) -> _Spot | str:
    """The chosen turn for an erroneous one, of its own episode if possible; or why there is none."""
    if not winners:
        return "no turn that led to success"
    own_first = sorted(winners, key=lambda winner: winner.sample.ref != rejected.sample.ref)
    reachable = [winner for winner in own_first if _passes_through(winner, rejected.prefix)]
    if not reachable:
        return "prefix mismatch"
    different = [winner for winner in reachable if winner.ids != rejected.ids]
    if not different:
        return "chosen equals rejected"
    standing = [winner for winner in different if _stands_alone(winner, len(rejected.prefix))]
    return standing[0] if standing else "needs cells left out"


def _passes_through(winner: _Spot, prefix: tuple[int, ...]) -> bool:
    """Whether the winner's episode had ``prefix`` in front of one of its turns, at or before the winning one."""
    at_a_turn = any(span.start == len(prefix) for span in winner.row.spans)
    return at_a_turn and winner.span.start >= len(prefix) and winner.row.ids[: len(prefix)] == prefix


def _winner(sample: Sample, success: SuccessRule) -> _Spot | None:
    """The turn that led to success: the first with a right answer in view; of a submit, the last that worked before."""
    trajectory = sample.trajectory
    if not trajectory.success(success):
        return None
    turns = trajectory.turns
    first = next((i for i, turn in enumerate(turns) if turn.attempt_correct), len(turns) - 1)
    worked = [t for t in turns[: first + 1] if not t.failed and not isinstance(t.action, Submit)]
    return _spot(sample, worked[-1].index) if worked else None


def _erroneous(sample: Sample) -> list[_Spot]:
    """Turns that failed, or whose cell turned the visible answer wrong."""
    found, before = [], None
    for turn in sample.trajectory.turns:
        turned_wrong = isinstance(turn.action, ExecuteCode) and turn.attempt_correct is False and before is not False
        spot = _spot(sample, turn.index) if turn.failed or turned_wrong else None
        found += [spot] if spot is not None else []
        before = turn.attempt_correct
    return found


def _spot(sample: Sample, turn: int) -> _Spot | None:
    spots = (
        _Spot(sample, row, span)
        for row in sample.trajectory.rows
        for span in row.spans
        if span.turn == turn and span.end > span.start
    )
    return next(spots, None)


def _stands_alone(winner: _Spot, prefix_length: int) -> bool:
    """Whether the winning cell does without the names bound only in the turns between prefix and cell."""
    starts = {span.turn: span.start for span in winner.row.spans}
    first_left_out = min((t for t, start in starts.items() if start >= prefix_length), default=winner.span.turn)
    turns = winner.sample.trajectory.turns
    before = _bound_by(turns[:first_left_out])
    between = _bound_by(turns[first_left_out : winner.span.turn])
    return not (_needed_by(winner.sample.trajectory, winner.span.turn) - before) & between


def _bound_by(turns: Sequence[Turn]) -> set[str]:
    cells = (turn.action.code for turn in turns if isinstance(turn.action, ExecuteCode))
    return {name for cell in cells for name in _names(cell)[1]}


def _needed_by(trajectory: Trajectory, turn: int) -> set[str]:
    action = trajectory.turns[turn].action
    if not isinstance(action, ExecuteCode):
        return set()
    loaded, bound = _names(action.code)
    return loaded - bound - set(dir(builtins))


def _names(code: str) -> tuple[set[str], set[str]]:
    """Names a cell loads and names it binds; none when it does not parse (it then bound nothing either)."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), set()
    loaded: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    return loaded, bound
