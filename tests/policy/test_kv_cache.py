"""Rows of keys and values: written, kept and found again without a change, on recognisable numbers."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.policy.kv_cache import BatchCache, KeyValues, PrefixCache, row_of

LAYERS, HEADS, SIZE = 2, 3, 4


def content(ids: list[int]) -> KeyValues:
    """Keys and values that name their token and layer: keys ``id + layer / 10``, values the negative of it."""
    pairs = []
    for layer in range(LAYERS):
        keys = (torch.tensor(ids, dtype=torch.float32) + layer / 10)[None, :, None].expand(HEADS, -1, SIZE)
        pairs.append((keys, -keys))
    return pairs


def same(left: KeyValues, right: KeyValues) -> bool:
    return all(torch.equal(a, b) for pair in zip(left, right, strict=True) for a, b in zip(*pair, strict=True))


def append(batch: BatchCache, tokens: list[int]) -> None:
    """What a model's decoding step does: one position per row and layer."""
    for layer in range(LAYERS):
        keys = (torch.tensor(tokens, dtype=torch.float32) + layer / 10)[:, None, None, None].expand(-1, HEADS, 1, SIZE)
        batch.cache.update(keys, -keys, layer)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    steps=st.integers(0, 300),
    late=st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_rows_keep_their_content_through_steps_joins_and_drops(lengths: list[int], steps: int, late: int) -> None:
    rows = [[100 * (i + 1) + j for j in range(n)] for i, n in enumerate(lengths)]
    batch = BatchCache()
    batch.rebuild([], [content(row) for row in rows])
    for step in range(steps):
        append(batch, [7000 + step] * len(rows))
    rows = [row + [7000 + step for step in range(steps)] for row in rows]
    newcomer = [9000 + j for j in range(late)]
    if batch.put(0, content(newcomer)):  # in place of the first row, as if it had ended
        rows[0] = newcomer
    else:
        assert late > batch.cursor
    kept = list(range(len(rows)))[::2]
    batch.rebuild(kept, [content([1, 2, 3])])
    rows = [rows[i] for i in kept] + [[1, 2, 3]]
    assert batch.cursor == max(map(len, rows))
    for place, row in enumerate(rows):
        assert same(row_of(batch.cache, place, batch.starts[place]), content(row))


def test_an_empty_batch_has_no_cursor() -> None:
    batch = BatchCache()
    batch.rebuild([], [content([1, 2])])
    batch.rebuild([], [])
    assert batch.cursor == 0


SIXTEEN = list(range(16))


def test_the_longest_prefix_is_found_and_one_token_is_always_left_to_compute() -> None:
    prefixes = PrefixCache(1 << 20)
    prefixes.keep(None, [*SIXTEEN, 50], content([*SIXTEEN, 50]))
    prefixes.keep(None, [*SIXTEEN, 60, 61], content([*SIXTEEN, 60, 61]))
    length, found = prefixes.longest(None, [*SIXTEEN, 60, 61, 62])
    assert length == 18
    assert same(found, content([*SIXTEEN, 60, 61]))
    length, found = prefixes.longest(None, [*SIXTEEN, 60, 61])
    assert length == 17
    assert same(found, content([*SIXTEEN, 60]))
    assert prefixes.longest(None, [*SIXTEEN, 99, 99])[0] == 16


def test_short_prefixes_and_other_adapters_are_not_used() -> None:
    prefixes = PrefixCache(1 << 20)
    prefixes.keep("sft", [*SIXTEEN, 50], content([*SIXTEEN, 50]))
    assert prefixes.longest(None, [*SIXTEEN, 50, 51]) == (0, [])
    assert prefixes.longest("sft", [*SIXTEEN[:8], 70, 71]) == (0, [])
    assert prefixes.longest("sft", [*SIXTEEN, 50, 51])[0] == 17
    prefixes.forget("sft")
    assert prefixes.longest("sft", [*SIXTEEN, 50, 51]) == (0, [])


def test_the_least_recently_used_goes_first() -> None:
    size = sum(keys.nbytes + values.nbytes for keys, values in content(SIXTEEN))
    prefixes = PrefixCache(2 * size)
    sequences = [[start + i for i in range(16)] for start in (100, 200, 300)]
    prefixes.keep(None, sequences[0], content(sequences[0]))
    prefixes.keep(None, sequences[1], content(sequences[1]))
    assert prefixes.longest(None, [*sequences[0], 1])[0] == 16  # now the second is the older
    prefixes.keep(None, sequences[2], content(sequences[2]))
    assert [prefixes.longest(None, [*s, 1])[0] for s in sequences] == [16, 0, 16]


def test_a_longer_sequence_replaces_the_one_it_extends() -> None:
    size = sum(keys.nbytes + values.nbytes for keys, values in content(SIXTEEN))
    prefixes = PrefixCache(int(3.5 * size))
    other = [500 + i for i in range(16)]
    prefixes.keep(None, other, content(other))
    prefixes.keep(None, SIXTEEN, content(SIXTEEN))
    longer = [*SIXTEEN, *range(600, 616)]
    prefixes.keep(None, longer, content(longer))  # fits only because the shorter one went
    assert prefixes.longest(None, [*other, 1])[0] == 16
    assert prefixes.longest(None, [*longer, 1])[0] == 32
