"""Versions of a policy's weights: turns keep theirs, old ones go when their last turn is done."""

import asyncio
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from copilot.envs.task import Reference, Task
from copilot.policy.base import Generation, GenerationRequest, Policy, SamplingParams
from copilot.policy.versions import VersionedPolicy
from copilot.reward.answers import StringAnswer

TASK = Task(id="t/0", source="none", split="train", question="q", reference=Reference(answer=StringAnswer(value="x")))
REQUEST = GenerationRequest(messages=[], prompt_ids=[1], task=TASK, turn=0, sampling=SamplingParams(), seed=0)


class Engine(Policy):
    """Records what it is told; answers when it is let."""

    label = "base"

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.asked: list[str | None] = []
        self.gate = asyncio.Event()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def load_adapter(self, name: str, path: str) -> None:
        self.loaded.append(name)

    async def unload_adapter(self, name: str) -> None:
        self.loaded.remove(name)

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request.adapter)
        await self.gate.wait()
        assert request.adapter is None or request.adapter in self.loaded, "unloaded under a turn's feet"
        return Generation(text="")


def adapter(folder: Path, value: float) -> str:
    folder.mkdir()
    save_file(
        {"m.lora_A.weight": torch.ones(2, 2), "m.lora_B.weight": torch.full((2, 2), value)},
        str(folder / "adapter_model.safetensors"),
    )
    return str(folder)


def test_a_turn_keeps_the_version_it_began_with(tmp_path: Path) -> None:
    async def body() -> None:
        engine = Engine()
        policy = VersionedPolicy(engine)
        await policy.start()
        await policy.publish(0, adapter(tmp_path / "v0", 1.0))
        early = asyncio.create_task(policy.generate(REQUEST))
        await asyncio.sleep(0)
        await policy.publish(1, adapter(tmp_path / "v1", 2.0))
        late = asyncio.create_task(policy.generate(REQUEST))
        await asyncio.sleep(0)
        assert engine.loaded == ["v0", "v1"], "the old one still has a turn"
        engine.gate.set()
        answers = await asyncio.gather(early, late)
        assert [a.policy_version for a in answers] == ["base@v0", "base@v1"]
        assert engine.asked == ["v0", "v1"]
        assert engine.loaded == ["v1"]
        assert policy.loaded == [1]

    asyncio.run(body())


def test_a_new_adapter_is_the_base_until_it_is_trained(tmp_path: Path) -> None:
    async def body() -> None:
        engine = Engine()
        engine.gate.set()
        policy = VersionedPolicy(engine)
        await policy.publish(0, adapter(tmp_path / "v0", 0.0))
        await policy.generate(REQUEST)
        assert engine.asked == [None]
        await policy.publish(1, adapter(tmp_path / "v1", 1.0))
        await policy.generate(REQUEST)
        assert engine.asked == [None, "v1"]

    asyncio.run(body())


def test_a_version_that_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    class Refusing(Engine):
        async def load_adapter(self, name: str, path: str) -> None:
            if name == "v1":
                raise RuntimeError("no room")
            await super().load_adapter(name, path)

    async def body() -> None:
        engine = Refusing()
        engine.gate.set()
        policy = VersionedPolicy(engine)
        await policy.publish(0, adapter(tmp_path / "v0", 1.0))
        with pytest.raises(RuntimeError):
            await policy.publish(1, adapter(tmp_path / "v1", 1.0))
        assert (await policy.generate(REQUEST)).policy_version == "@v0"

    asyncio.run(body())


def test_full_weights_wait_for_turns_under_way(tmp_path: Path) -> None:
    class Whole(Engine):
        async def load_weights(self, path: str) -> None:
            self.loaded.append(path)

    async def replace(policy: VersionedPolicy, version: int, folder: str) -> None:
        await policy.hold()
        await policy.load_weights(folder)
        await policy.serve(version)

    async def body() -> None:
        engine = Whole()
        policy = VersionedPolicy(engine)
        await replace(policy, 0, "zero")
        early = asyncio.create_task(policy.generate(REQUEST))
        await asyncio.sleep(0)
        update = asyncio.create_task(replace(policy, 1, "one"))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(policy.generate(REQUEST))
        await asyncio.sleep(0.05)
        assert engine.loaded == ["zero"], "a turn is under way"
        assert len(engine.asked) == 1, "and a new one waits"
        engine.gate.set()
        await update
        answers = await asyncio.gather(early, late)
        assert [a.policy_version for a in answers] == ["@v0", "@v1"]

    asyncio.run(body())
