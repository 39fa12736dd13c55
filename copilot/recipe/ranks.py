"""Who the rank processes are and how they agree: rank 0 decides, the others do as told, over one TCP connection each.

The supervisors import no torch, and the launcher's rendezvous port is not theirs to use; so rank 0 listens on a
free port and writes it into the run folder, which all nodes share. A broken connection is a dead rank, seen at once.
"""

import hmac
import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from copilot.errors import CopilotError
from copilot.recipe.folder import write_json

_JOIN_PATIENCE = 1800.0
_POLL = 0.1
_GREETING_SECONDS = 10.0

Message = dict[str, Any]
"""JSON between ranks; ``{"lost": true}`` stands for a broken connection."""

LOST: Message = {"lost": True}


class RankError(CopilotError):
    """Ranks that do not find each other."""

    boundary = "ranks"


@dataclass(frozen=True)
class Ranks:
    """This process among those a launcher (accelerate, torchrun, srun) started."""

    rank: int = 0
    """Among all."""
    local_rank: int = 0
    """Among those of this node."""
    world_size: int = 1
    """How many there are."""
    single_node: bool = True
    """Whether all are on this node."""
    address: str = "127.0.0.1"
    """Where rank 0 is."""
    job: str = ""
    """What tells this launch from others at work at the same time."""
    launched: bool = False
    """Whether a launcher set ranks at all."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the launcher's variables; without them it is a run of one process."""
        if "RANK" not in env or "WORLD_SIZE" not in env:
            return cls()
        world = int(env["WORLD_SIZE"])
        address, port = env.get("MASTER_ADDR", "127.0.0.1"), env.get("MASTER_PORT", "0")
        return cls(
            rank=int(env["RANK"]),
            local_rank=int(env.get("LOCAL_RANK", env["RANK"])),
            world_size=world,
            single_node=int(env.get("LOCAL_WORLD_SIZE", world)) == world,
            address=address,
            job=f"{address}:{port}:{env.get('TORCHELASTIC_RUN_ID', '')}",
            launched=True,
        )


class Channel:
    """JSON lines over a socket; what comes in waits in a queue."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("r", encoding="utf-8")
        self.inbox: queue.Queue[Message] = queue.Queue()

    def greet(self) -> Message:
        """Read the first message, before :meth:`listen`."""
        return dict(json.loads(self._reader.readline() or "{}"))

    def listen(self) -> None:
        """Collect messages in the background."""
        self._socket.settimeout(None)
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        try:
            for line in self._reader:
                self.inbox.put(json.loads(line))
        except (OSError, ValueError):  # the other side was killed, mid-line perhaps: it is lost, said below
            pass
        self.inbox.put(LOST)

    def send(self, message: Message) -> None:
        """Send, or leave it when the other side is gone (the inbox says so)."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.inbox.put(LOST)

    def poll(self, timeout: float = 0.0) -> Message | None:
        """The next message, ``None`` when there is none within ``timeout`` seconds."""
        try:
            return self.inbox.get(timeout=timeout) if timeout else self.inbox.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Host:
    """Rank 0's side.

    Args:
        run_folder: Where the others look for the address.
        ranks: This launch.
    """

    def __init__(self, run_folder: Path, ranks: Ranks) -> None:
        self.peers: dict[int, Channel] = {}
        self._ranks, self._token = ranks, secrets.token_hex(16)
        self._file = run_folder / ".ranks.json"
        if ranks.world_size == 1:
            return
        self._server = socket.create_server(("127.0.0.1" if ranks.single_node else "0.0.0.0", 0))
        address = "127.0.0.1" if ranks.single_node else ranks.address
        place = {"address": address, "port": self._server.getsockname()[1], "token": self._token, "job": ranks.job}
        write_json(self._file, place)

    def gather(self) -> None:
        """Wait for all other ranks.

        Raises:
            RankError: Some did not come.
        """
        deadline = time.monotonic() + _JOIN_PATIENCE
        while len(self.peers) < self._ranks.world_size - 1:
            self._server.settimeout(max(deadline - time.monotonic(), _POLL))
            try:
                connection, _ = self._server.accept()
            except TimeoutError as error:
                missing = sorted(set(range(1, self._ranks.world_size)) - set(self.peers))
                remedy = "is the run folder on a file system that all nodes share?"
                raise RankError(f"ranks {missing} did not come", where=self._file, remedy=remedy) from error
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        connection.settimeout(_GREETING_SECONDS)
        channel = Channel(connection)
        try:
            greeting = channel.greet()
        except (OSError, ValueError):  # a port scanner, not a rank
            channel.close()
            return
        rank = greeting.get("rank")
        if not hmac.compare_digest(str(greeting.get("token")), self._token) or not isinstance(rank, int):
            channel.close()
            return
        channel.send({"welcome": True})
        channel.listen()
        self.peers[rank] = channel

    def tell(self, message: Message) -> None:
        """Send to all."""
        for channel in self.peers.values():
            channel.send(message)

    def close(self) -> None:
        """Hang up; the others end."""
        for channel in self.peers.values():
            channel.close()
        if self._ranks.world_size > 1:
            self._server.close()
            self._file.unlink(missing_ok=True)


def join(run_folder: Path, ranks: Ranks) -> Channel:
    """The other ranks' side: find rank 0 and connect.

    Raises:
        RankError: It did not come up.
    """
    deadline = time.monotonic() + _JOIN_PATIENCE
    while time.monotonic() < deadline:
        channel = _try_join(run_folder / ".ranks.json", ranks)
        if channel is not None:
            channel.listen()
            return channel
        time.sleep(_POLL)
    remedy = "is the run folder on a file system that all nodes share?"
    raise RankError(f"rank {ranks.rank} did not find rank 0", where=run_folder, remedy=remedy)


def _try_join(file: Path, ranks: Ranks) -> Channel | None:
    """One attempt; the file may be missing yet, or be left from a killed run whose port nobody serves."""
    try:
        place = json.loads(file.read_text(encoding="utf-8"))
        if place["job"] != ranks.job:
            return None
        connection = socket.create_connection((place["address"], place["port"]), timeout=_GREETING_SECONDS)
        channel = Channel(connection)
        channel.send({"rank": ranks.rank, "token": place["token"]})
        return channel if channel.greet() == {"welcome": True} else None
    except (OSError, ValueError):
        return None


def free_port() -> int:
    """A port nobody listens on now, for a stage's rendezvous."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])
