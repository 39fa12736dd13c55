"""A socket that carries frames, read by the event loop without a task of its own.

Cells are answered in tens of microseconds, so a frame goes from the selector straight to its receiver.
"""

import asyncio
import socket
from collections.abc import Callable

from copilot.envs.sandboxes.inside.frames import Buffer, Frame, FrameError, encode


class Connection:
    """One end of a frame link.

    Args:
        sock: A connected stream socket; owned from here on.
        unwrap: Takes the frames' bytes out of what the socket delivers, where it delivers more.
        receive: Called with every frame, and once with ``None`` at the end or at the first malformed frame.
    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[Frame | None], None],
        *,
        unwrap: Callable[[bytes], bytes] | None = None,
    ) -> None:
        sock.setblocking(False)
        self._unwrap = unwrap
        self._sock, self._receive = sock, receive
        self._buffer = Buffer()
        self._outgoing = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)
        self._open = True

    def send(self, frame: Frame) -> None:
        """Send now, or as soon as there is room; in order.

        Raises:
            OSError: The link is gone.
        """
        if not self._open:
            raise BrokenPipeError("the link is closed")
        data = encode(frame)
        if not self._outgoing:
            data = data[self._send(data) :]
        if data:
            if not self._outgoing:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._outgoing += data

    def _send(self, data: bytes) -> int:
        """Bytes sent; none when the kernel's buffer is full and the writer must take over."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def send_with_descriptor(self, frame: Frame, fd: int) -> None:
        """Send a small frame with a file descriptor.

        Raises:
            OSError: The link is gone.
        """
        data = encode(frame)
        while True:
            if not self._open:
                raise BrokenPipeError("the link is closed")
            if not self._outgoing:
                try:
                    sent = socket.send_fds(self._sock, [data], [fd])
                except BlockingIOError:
                    sent = 0
                if sent:
                    break
            await asyncio.sleep(0.001)
        if sent < len(data):
            self._loop.add_writer(self._sock.fileno(), self._writable)
            self._outgoing += data[sent:]

    def close(self) -> None:
        """Close; the receiver hears nothing more."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()

    def _writable(self) -> None:
        try:
            del self._outgoing[: self._sock.send(self._outgoing)]
        except BlockingIOError:
            return
        except OSError:
            self._finish()
            return
        if not self._outgoing:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
            found = self._buffer.feed(self._unwrap(data) if self._unwrap else data)
        except BlockingIOError:
            return
        except (OSError, FrameError):
            self._finish()
            return
        for frame in found:
            self._receive(frame)
        if not data:
            self._finish()

    def _finish(self) -> None:
        if self._open:
            self.close()
            self._receive(None)
