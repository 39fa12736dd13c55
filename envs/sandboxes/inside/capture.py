"""Keeps the head and the tail of an endless stream, and counts what lies between."""

_CONTINUATION = bytes(range(0x80, 0xC0))


class Capture:
    """The first and last characters of a UTF-8 stream.

    Args:
        limit: Characters kept; a note about the rest comes on top.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.head, self.tail = bytearray(), bytearray()
        self.spilled = 0

    def feed(self, data: bytes) -> None:
        """Add bytes; memory stays within eight bytes per character of the limit."""
        room = 4 * self.limit - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        if data:
            self.tail += data
            if len(self.tail) > 8 * self.limit:
                cut = len(self.tail) - 4 * self.limit
                self.spilled += len(self.tail[:cut].translate(None, _CONTINUATION))
                del self.tail[:cut]

    def take(self) -> tuple[str, int]:
        """:meth:`text`, and forget everything."""
        if not self.head and not self.tail:
            return "", 0
        found = self.text()
        self.clear()
        return found

    def text(self) -> tuple[str, int]:
        """The text, at most ``limit`` characters and a note, and how many characters were left out."""
        if self.spilled:
            head, tail = self.head.decode(errors="replace"), self.tail.decode(errors="replace")
        else:
            head, tail = (self.head + self.tail).decode(errors="replace"), ""
        total = len(head) + self.spilled + len(tail)
        if total <= self.limit:
            return head + tail, 0
        first = self.limit // 2
        last = self.limit - first
        end = tail if len(tail) >= last else head + tail
        left_out = total - self.limit
        return f"{head[:first]}\n... [{left_out} characters left out] ...\n{end[len(end) - last :]}", left_out
