"""Which groups a step takes, and how many may be begun: order, refills, age."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.online.config import GrpoConfig
from copilot.online.episodes import Verdict, allowance, choose

GOOD, FLAT = Verdict(flat=False, version=0), Verdict(flat=True, version=0)


def config(**changes: Any) -> GrpoConfig:
    base = {"id": "rl", "suite": "starter", "groups": 3, "rollout": {"sampling": {"temperature": 1.0}}}
    return GrpoConfig.model_validate(base | changes)


def test_groups_are_taken_in_the_order_they_were_begun() -> None:
    verdicts = {0: GOOD, 2: GOOD, 3: GOOD, 4: GOOD}
    assert choose(verdicts, cursor=0, version=0, config=config()) is None, "group 1 is long; it is waited for"
    choice = choose(verdicts | {1: GOOD}, cursor=0, version=0, config=config())
    assert choice is not None
    assert (choice.taken, choice.cursor) == ([0, 1, 2], 3)


def test_flat_groups_are_replaced_and_counted_up_to_a_limit() -> None:
    verdicts = {0: FLAT, 1: GOOD, 2: FLAT, 3: GOOD, 4: GOOD}
    choice = choose(verdicts, cursor=0, version=0, config=config())
    assert choice is not None
    assert (choice.taken, choice.flat) == ([1, 3, 4], [0, 2])
    few = config(dynamic_sampling={"limit": 0.4})
    limited = choose(verdicts, cursor=0, version=0, config=few)
    assert limited is not None
    assert (limited.taken, limited.flat) == ([1, 2, 3], [0])
    plain = choose(verdicts, cursor=0, version=0, config=config(dynamic_sampling={"enabled": False}))
    assert plain is not None
    assert (plain.taken, plain.flat) == ([0, 1, 2], [])


def test_what_is_too_old_is_refused_or_kept_for_correction() -> None:
    old, new = Verdict(flat=False, version=1), Verdict(flat=False, version=3)
    verdicts = {0: old, 1: new, 2: new, 3: new}
    bounded = config(staleness={"bound": 1})
    choice = choose(verdicts, cursor=0, version=3, config=bounded)
    assert choice is not None
    assert (choice.taken, choice.stale) == ([1, 2, 3], [0])
    kept = choose(verdicts, cursor=0, version=3, config=config(staleness={"bound": 1, "past_bound": "correct"}))
    assert kept is not None
    assert (kept.taken, kept.stale) == ([0, 1, 2], [])


def test_synchronous_starts_a_step_and_nothing_during_an_update() -> None:
    assert allowance({}, cursor=6, version=2, training=False, config=config()) == 9
    assert allowance({}, cursor=6, version=2, training=True, config=config()) == 6


def test_overlapped_starts_what_will_be_within_the_bound() -> None:
    ahead = config(staleness={"bound": 2})
    assert allowance({}, cursor=6, version=2, training=True, config=ahead) == 12
    assert allowance({}, cursor=6, version=2, training=False, config=ahead) == 15


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=40, max_size=40), st.integers(0, 2), st.randoms())
def test_nothing_is_trained_older_than_the_bound_and_every_group_is_used_once(
    flats: list[bool], bound: int, rng: Any
) -> None:
    """The collector's and the trainer's moves in random order; whatever the order, the promises hold."""
    setting = config(staleness={"bound": bound}, dynamic_sampling={"limit": 1.0})
    verdicts: dict[int, Verdict] = {}
    begun: dict[int, int] = {}
    used: list[int] = []
    cursor = version = 0
    while version < 5:
        limit = allowance(verdicts, cursor=cursor, version=version, training=False, config=setting)
        for index in range(len(begun), limit):
            begun[index] = version
        pending = [index for index in begun if index not in verdicts and index >= cursor]
        rng.shuffle(pending)
        for index in pending[: rng.randint(1, len(pending))] if pending else []:
            verdicts[index] = Verdict(flat=flats[index % len(flats)], version=begun[index])
        choice = choose(verdicts, cursor=cursor, version=version, config=setting)
        if choice is None:
            assert pending, "somebody must be able to move"
            continue
        assert all(version - begun[index] <= bound for index in choice.taken)
        used += choice.taken + choice.flat + choice.stale
        cursor, verdicts = choice.cursor, {i: v for i, v in verdicts.items() if i >= choice.cursor}
        version += 1
    assert sorted(used) == list(range(cursor))
