"""Full weights from a trainer's memory into a serving vLLM, tensor by tensor: no files, no disk that both must see.

The trainer is rank 0 of a group that vLLM's workers join over its weight-transfer endpoints, whose form is the same in
vLLM 0.26 and 0.32 (unpacked). ``nccl`` is vLLM's own backend, for a server on GPUs of its own: a group cannot have one
GPU twice. ``gloo`` goes through host memory, wherever the two run; vLLM has it from :mod:`copilot.policy.vllm_plugin`.
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import torch
from torch import Tensor
from torch.distributed import BroadcastOptions, ProcessGroupGloo, TCPStore  # type: ignore[attr-defined]

Backend = Literal["gloo", "nccl"]
BACKENDS: dict[Backend, str] = {"gloo": "copilot_gloo", "nccl": "nccl"}
"""Their names in vLLM's ``--weight-transfer-config``."""
_TIMEOUT = timedelta(minutes=10)

Manage = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Posts a body to a path of the server; raises where it is refused."""


class Group(ABC):
    """A group of this trainer and a server's workers."""

    @abstractmethod
    def broadcast(self, tensor: Tensor) -> None:
        """Send ``tensor``; or fill it with what rank 0 sends."""

    def finish(self) -> None:  # noqa: B027 (some broadcasts are complete when they return)
        """Return when all that was sent has left."""


class GlooGroup(Group):
    """Over TCP, from host memory to host memory.

    Args:
        host: Where rank 0 is reached.
        port: Its port for the rendezvous.
        rank: This process; 0 is the trainer.
        size: All of them.
    """

    def __init__(self, host: str, port: int, *, rank: int, size: int) -> None:
        store = TCPStore(host, port, size, rank == 0, timeout=_TIMEOUT)
        options: Any = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._devices = [ProcessGroupGloo.create_device(hostname=own_address(host, port))]
        options._timeout = _TIMEOUT
        self._group: Any = ProcessGroupGloo(store, rank, size, options)  # type: ignore[call-arg,arg-type]
        self._options = BroadcastOptions()
        self._options.rootRank = 0

    def broadcast(self, tensor: Tensor) -> None:
        """See :meth:`Group.broadcast`; a tensor on a device is sent by way of the host."""
        self._group.broadcast([tensor.cpu().contiguous()], self._options).wait()


class NcclGroup(Group):
    """From GPU to GPU, by vLLM's own communicator; the trainer's side only.

    Args:
        host: This machine, as the workers see it.
        port: For the rendezvous.
        size: This process and the workers.
        device: What the weights are on.
    """

    def __init__(self, host: str, port: int, *, size: int, device: torch.device) -> None:
        from vllm.distributed.device_communicators.pynccl import PyNcclCommunicator
        from vllm.distributed.utils import StatelessProcessGroup

        group = StatelessProcessGroup.create(host=host, port=port, rank=0, world_size=size)
        self._communicator = PyNcclCommunicator(group, device=device)

    def broadcast(self, tensor: Tensor) -> None:
        """See :meth:`Group.broadcast`."""
        self._communicator.broadcast(tensor.contiguous(), src=0, stream=torch.cuda.current_stream())

    def finish(self) -> None:
        """See :meth:`Group.finish`."""
        torch.cuda.current_stream().synchronize()


class Broadcast:
    """The way to one server.

    Args:
        backend: ``gloo`` or ``nccl``.
        url: The server.
        workers: How many workers it has over all of its GPUs.
        manage: Posts to it.
    """

    def __init__(self, backend: Backend, *, url: str, workers: int, manage: Manage) -> None:
        self._backend, self._url, self._size, self._manage = backend, url, workers + 1, manage
        self._group: Group | None = None

    async def send(self, tensors: Mapping[str, Tensor], gather: Callable[[Tensor], Tensor]) -> None:
        """Replace the server's weights.

        Args:
            tensors: By their names in a checkpoint; shapes are those of the whole.
            gather: Makes a tensor whole, just before it is sent.

        Raises:
            ServerError: The server refused, or fell out.
        """
        device = next(iter(tensors.values())).device
        group = self._group or await self._join(device)
        layout = {
            "names": list(tensors),
            "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()],
            # A tensor that ZeRO-3 splits is empty, and notes its shape beside.
            "shapes": [list(getattr(tensor, "ds_shape", tensor.shape)) for tensor in tensors.values()],
        }

        def broadcast() -> None:
            # A thread begins on the first GPU, whatever its maker is on.
            with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
                for tensor in tensors.values():
                    group.broadcast(gather(tensor))
                group.finish()

        await self._manage("/start_weight_update", {})
        await asyncio.gather(
            self._manage("/update_weights", {"update_info": layout}),
            asyncio.to_thread(broadcast),
        )
        await self._manage("/finish_weight_update", {})

    async def _join(self, device: torch.device) -> Group:
        """Make the group; the workers join while this waits for them."""
        split = urlsplit(self._url)
        host = own_address(split.hostname or "127.0.0.1", split.port or 80)
        with socket.socket() as free:
            free.bind((host, 0))
            port = int(free.getsockname()[1])
        met = {"master_address": host, "master_port": port, "rank_offset": 1, "world_size": self._size}
        _, group = await asyncio.gather(
            self._manage("/init_weight_transfer_engine", {"init_info": met}),
            asyncio.to_thread(self._open, host, port, device),
        )
        self._group = group
        return group

    def _open(self, host: str, port: int, device: torch.device) -> Group:
        if self._backend == "nccl":
            return NcclGroup(host, port, size=self._size, device=device)
        return GlooGroup(host, port, rank=0, size=self._size)


def own_address(host: str, port: int) -> str:
    """This machine's address as ``host`` sees it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])
