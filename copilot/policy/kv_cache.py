"""Key/value memory of a running batch: rows come and go, nobody's prompt is computed twice.

All rows end at one cursor, so a decoding step is one slice for every row; a new row is written right-aligned before
the cursor, in place. Room is given back when rows are dropped or when all rows start late. A finished row's keys can
be kept by :class:`PrefixCache`, from which the next turn of the same episode, and every prompt with the same schema,
starts.
"""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_HEADROOM = 128
_MIN_REUSE = 16


class BufferedLayer(DynamicLayer):
    """One layer's keys and values ``[S, H, length, D]`` as views of larger buffers: appending copies nothing old."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, Tensor] | None = None
        self._length = 0

    def fill(self, keys: Tensor, values: Tensor, room: int) -> None:
        """Start from ``keys`` and ``values`` with ``room`` free positions behind them."""
        shape = (*keys.shape[:2], keys.shape[2] + room, keys.shape[3])
        buffers = keys.new_zeros(shape), values.new_zeros(shape)
        for buffer, content in zip(buffers, (keys, values), strict=True):
            buffer[:, :, : keys.shape[2]] = content
        self._buffers, self._length = buffers, keys.shape[2]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values = self._shown()

    def write(self, row: int, keys: Tensor, values: Tensor) -> None:
        """Write ``[H, n, D]`` into ``row``, ending at the cursor."""
        start = self._length - keys.shape[1]
        for buffer, content in zip(self._owned(), (keys, values), strict=True):
            buffer[row, :, start : self._length] = content

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append one step's keys and values; called by the model."""
        end = self._length + key_states.shape[2]
        if self._buffers is None:
            self.fill(key_states, value_states, _HEADROOM)
        elif end > self._buffers[0].shape[2]:
            old_keys, old_values = self._shown()
            joined = torch.cat((old_keys, key_states), dim=2), torch.cat((old_values, value_states), dim=2)
            self.fill(*joined, _HEADROOM + end // 4)
        else:
            for buffer, content in zip(self._buffers, (key_states, value_states), strict=True):
                buffer[:, :, self._length : end] = content
            self._length = end
            self.keys, self.values = self._shown()
        return self._shown()

    def row(self, row: int, start: int) -> tuple[Tensor, Tensor]:
        """Keys and values ``[H, n, D]`` of ``row`` from position ``start`` on, as views."""
        keys, values = self._shown()
        return keys[row, :, start:], values[row, :, start:]

    def _owned(self) -> tuple[Tensor, Tensor]:
        assert self._buffers is not None
        return self._buffers

    def _shown(self) -> tuple[Tensor, Tensor]:
        keys, values = self._owned()
        return keys[:, :, : self._length], values[:, :, : self._length]


KeyValues = list[tuple[Tensor, Tensor]]
"""Per layer: keys and values ``[H, n, D]`` of one row."""


def new_cache() -> Cache:
    """An empty cache for one prompt."""
    return Cache(layer_class_to_replicate=BufferedLayer)


def cache_of(prefix: KeyValues, room: int) -> Cache:
    """A cache of one row that starts with ``prefix`` and has ``room`` for more."""
    layers: list[Any] = []
    for keys, values in prefix:
        layer = BufferedLayer()
        layer.fill(keys[None], values[None], room)
        layers.append(layer)
    return Cache(layers=layers)


def row_of(cache: Cache, row: int, start: int) -> KeyValues:
    """Row ``row`` from position ``start`` on, as views."""
    return [layer.row(row, start) for layer in _buffered(cache)]


def _buffered(cache: Cache) -> list[BufferedLayer]:
    return [layer for layer in cache.layers if isinstance(layer, BufferedLayer)]


class BatchCache:
    """The rows decoded together.

    Attributes:
        cache: What the model reads and appends to.
        starts: First position of each row; everything before it is padding.
    """

    def __init__(self) -> None:
        self.cache = new_cache()
        self.starts: list[int] = []

    @property
    def cursor(self) -> int:
        """Where every row ends."""
        return int(self.cache.get_seq_length()) if self.starts else 0

    def put(self, row: int, content: KeyValues) -> bool:
        """Write a new row in place of a dead one; ``False`` when it is longer than the cursor."""
        length = content[0][0].shape[1]
        if length > self.cursor:
            return False
        for layer, (keys, values) in zip(_buffered(self.cache), content, strict=True):
            layer.write(row, keys, values)
        self.starts[row] = self.cursor - length
        return True

    def rebuild(self, keep: list[int], new: list[KeyValues]) -> None:
        """Keep the rows ``keep``, in that order, and add ``new`` behind them, without the padding all share."""
        rows = [row_of(self.cache, row, self.starts[row]) for row in keep] + new
        if not rows:
            self.cache, self.starts = new_cache(), []
            return
        lengths = [content[0][0].shape[1] for content in rows]
        longest = max(lengths)
        layers: list[Any] = []
        for index, (keys, _) in enumerate(rows[0]):
            padded = [keys.new_zeros((len(rows), keys.shape[0], longest, keys.shape[2])) for _ in range(2)]
            for row, content in enumerate(rows):
                for side in range(2):
                    padded[side][row, :, longest - lengths[row] :] = content[index][side]
            layer = BufferedLayer()
            layer.fill(padded[0], padded[1], _HEADROOM)
            layers.append(layer)
        self.cache, self.starts = Cache(layers=layers), [longest - length for length in lengths]


class PrefixCache:
    """Keys and values of past sequences, least recently used dropped first.

    Args:
        max_bytes: Kept at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._entries: OrderedDict[tuple[str | None, bytes], tuple[np.ndarray, KeyValues, int]] = OrderedDict()

    def longest(self, adapter: str | None, ids: list[int]) -> tuple[int, KeyValues]:
        """The longest known prefix of ``ids`` under ``adapter``, at least one token short of all of them.

        Returns:
            Its length and its keys and values; ``(0, [])`` when nothing worthwhile is known.
        """
        wanted, best, best_key = np.asarray(ids[:-1], dtype=np.int64), 0, None
        for key, (known, _, _) in self._entries.items():
            common = _common_prefix(known, wanted) if key[0] == adapter else 0
            if common > best:
                best, best_key = common, key
        if best_key is None or best < _MIN_REUSE:
            return 0, []
        self._entries.move_to_end(best_key)
        return best, [(keys[:, :best], values[:, :best]) for keys, values in self._entries[best_key][1]]

    def keep(self, adapter: str | None, ids: list[int], content: KeyValues) -> None:
        """Remember ``content``, the keys and values of ``ids``; known sequences that it extends are dropped."""
        known = np.asarray(ids, dtype=np.int64)
        size = sum(keys.nbytes + values.nbytes for keys, values in content)
        if size > self._max_bytes or len(ids) < _MIN_REUSE:
            return
        for key in [k for k, entry in self._entries.items() if k[0] == adapter and _extends(known, entry[0])]:
            self._drop(key)
        copies = [(keys.clone(), values.clone()) for keys, values in content]
        self._entries[adapter, known.tobytes()] = (known, copies, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def forget(self, adapter: str | None) -> None:
        """Drop everything computed with ``adapter``."""
        for key in [key for key in self._entries if key[0] == adapter]:
            self._drop(key)

    def _drop(self, key: tuple[str | None, bytes]) -> None:
        self._bytes -= self._entries.pop(key)[2]


def _common_prefix(left: np.ndarray, right: np.ndarray) -> int:
    n = min(len(left), len(right))
    differ = np.flatnonzero(left[:n] != right[:n])
    return int(differ[0]) if len(differ) else n


def _extends(longer: np.ndarray, shorter: np.ndarray) -> bool:
    return len(longer) >= len(shorter) and _common_prefix(longer, shorter) == len(shorter)
