"""The policy being trained, its frozen reference and, for PPO, a critic: three sets of weights, one forward each.

With adapters, all three are on one frozen base: ``default`` (the policy, the only one that is ever served),
``reference`` (a copy as it entered the stage) and ``critic`` with a value head. PEFT's ``set_adapter`` takes the
gradient from every other adapter; here what is trained stays trainable whatever is active.
"""

import copy
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from copilot.errors import ModelError
from copilot.online.config import CriticTrunk
from copilot.online.packing import Pack
from copilot.online.scoring import PackModel, Scored, Valued
from copilot.online.sharding import whole

HEAD_FILE = "value_head.safetensors"
POLICY, REFERENCE, CRITIC = "default", "reference", "critic"


class ValueHead(nn.Linear):
    """From a hidden state to a value, float32; starts at 0."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, 1, dtype=torch.float32)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """Values ``[N]``."""
        return nn.functional.linear(hidden_NH.float(), self.weight.float(), self.bias.float()).squeeze(-1)

    def load(self, folder: Path) -> None:
        """Take the weights in ``folder``.

        Raises:
            ModelError: There are none, or they are for another hidden size.
        """
        file = folder / HEAD_FILE
        if not file.is_file():
            remedy = "name a ppo stage, or leave critic.weights out for a new critic"
            raise ModelError(f"no {HEAD_FILE} in the critic's folder", where=folder, remedy=remedy)
        weights = load_file(str(file))
        if weights["weight"].shape != self.weight.shape:
            raise _misfit(folder, f"hidden size {weights['weight'].shape[1]}, the base has {self.weight.shape[1]}")
        self.load_state_dict(weights)


class ActorCritic(ABC):
    """What the update needs of a model, whatever it is made of."""

    head: ValueHead | None = None
    """The critic's head; ``None``: there is no critic."""
    sharded: bool = False
    """Whether each process holds a part of the weights; then all of them call every method, in the same order."""

    @abstractmethod
    def shard(self, split: Callable[[nn.Module], nn.Module]) -> None:
        """Split the weights over the processes.

        Args:
            split: Does it to a module, and returns what is called in its place: :func:`copilot.online.sharding.shard`,
                or an engine of DeepSpeed.
        """

    @abstractmethod
    def actor_parameters(self) -> dict[str, nn.Parameter]:
        """The policy's trained parameters, by a stable name."""

    @abstractmethod
    def critic_parameters(self) -> dict[str, nn.Parameter]:
        """The critic's that are trained by gradient, head included; empty without a critic or with a frozen trunk."""

    @abstractmethod
    def act(self, pack: Pack, *, entropy_gradient: bool = False) -> Scored:
        """Score a pack under the policy."""

    @abstractmethod
    def refer(self, pack: Pack) -> Tensor:
        """Log-probabilities under the reference, without gradient."""

    @abstractmethod
    def values(self, pack: Pack) -> Valued:
        """What the critic says before each trained token."""

    @abstractmethod
    def train(self, mode: bool = True) -> None:
        """Dropout on or off."""

    @abstractmethod
    def save_policy(self, folder: Path, *, writes: bool = True) -> None:
        """Write the policy alone, as engines and later stages load it; of several processes one ``writes``."""

    @abstractmethod
    def save_critic(self, folder: Path, *, writes: bool = True) -> None:
        """Write the critic; of several processes one ``writes``."""


class AdapterActorCritic(ActorCritic):
    """All on one frozen base.

    Args:
        model: With the policy as its adapter ``default``.
        reference: Folder of the adapter as it entered the stage; ``None``: it was the bare base (a new adapter).
        keep_reference: Whether a reference is needed at all.
        critic: Shape of a new critic's adapter; ``None``: no critic. Where the policy enters with an adapter, a new
            critic begins as a copy of that instead: it knows the tasks already, and only what they are worth is new.
        critic_weights: Folder of a critic to go on with.
        critic_trunk: Whether the critic's adapter is trained, or only its head is set.
    """

    def __init__(
        self,
        model: PeftModel,
        *,
        reference: str | None,
        keep_reference: bool,
        critic: LoraConfig | None = None,
        critic_weights: Path | None = None,
        critic_trunk: CriticTrunk = "trained",
    ) -> None:
        self.model = model
        self._critic_trunk = critic_trunk
        self._reference = REFERENCE if reference is not None and keep_reference else None
        if self._reference is not None:
            model.load_adapter(str(reference), adapter_name=REFERENCE, is_trainable=False)
        if critic is not None:
            self._add_critic(critic, critic_weights, reference)
        if self.head is not None:
            self.head.requires_grad_(critic_trunk == "trained")
        self._all: nn.Module = PackModel(model, self.head)
        self._take_trained()

    def _add_critic(self, shape: LoraConfig, weights: Path | None, policy: str | None) -> None:
        device = next(self.model.parameters()).device
        self.head = ValueHead(_hidden_size(self.base)).to(device)
        if weights is None and policy is not None:
            self.model.load_adapter(policy, adapter_name=CRITIC, is_trainable=True)
            return
        if weights is None:
            if shape.target_modules == "all-linear":  # the policy's own: its matrices are linear layers too, by now
                shape.target_modules = cast(LoraConfig, self.model.peft_config[POLICY]).target_modules
            self.model.add_adapter(CRITIC, shape)
            return
        self.head.load(weights)
        try:
            self.model.load_adapter(str(weights), adapter_name=CRITIC, is_trainable=True)
        except (RuntimeError, ValueError) as error:
            raise _misfit(weights, str(error).splitlines()[0]) from error

    @property
    def base(self) -> PreTrainedModel:
        """The model below the adapters."""
        return cast(PreTrainedModel, self.model.get_base_model())

    def shard(self, split: Callable[[nn.Module], nn.Module]) -> None:
        """See :class:`ActorCritic`."""
        self._all = split(self._all)
        self.sharded = True
        self._take_trained()  # FSDP puts new parameters in the old ones' places

    def _take_trained(self) -> None:
        self._trained = [*self.actor_parameters().values(), *self.critic_parameters().values()]
        self._active = ""
        self._activate(POLICY)

    def _parameters(self, adapter: str) -> dict[str, nn.Parameter]:
        return {n: p for n, p in self.model.named_parameters() if f".{adapter}." in n or n.endswith(f".{adapter}")}

    def _activate(self, adapter: str) -> None:
        if self._active == adapter:
            return
        self.model.set_adapter(adapter)
        self.model.requires_grad_(False)
        for parameter in self._trained:
            parameter.requires_grad_(True)
        self._active = adapter

    def actor_parameters(self) -> dict[str, nn.Parameter]:
        """See :class:`ActorCritic`."""
        return self._parameters(POLICY)

    def critic_parameters(self) -> dict[str, nn.Parameter]:
        """See :class:`ActorCritic`."""
        if self.head is None or self._critic_trunk == "frozen":
            return {}
        return self._parameters(CRITIC) | {f"head.{name}": p for name, p in self.head.named_parameters()}

    def act(self, pack: Pack, *, entropy_gradient: bool = False) -> Scored:
        """See :class:`ActorCritic`."""
        self._activate(POLICY)
        return Scored(*self._all(pack, entropy_gradient=entropy_gradient))

    @torch.no_grad()
    def refer(self, pack: Pack) -> Tensor:
        """See :class:`ActorCritic`."""
        if self._reference is not None:
            self._activate(REFERENCE)
            return cast(Tensor, self._all(pack)[0])
        with self._bare():
            return cast(Tensor, self._all(pack)[0])

    @contextmanager
    def _bare(self) -> Iterator[None]:
        with self.model.disable_adapter():
            yield
        self._active = ""  # PEFT has touched what has gradients

    def values(self, pack: Pack) -> Valued:
        """See :class:`ActorCritic`."""
        self._activate(CRITIC)
        return Valued(*self._all(pack, wanted="values"))

    def train(self, mode: bool = True) -> None:
        """See :class:`ActorCritic`."""
        self.model.train(mode)

    def save_policy(self, folder: Path, *, writes: bool = True) -> None:
        """See :class:`ActorCritic`."""
        state = _whole(self._parameters(POLICY), writes)
        if writes:
            self.model.save_pretrained(str(folder), selected_adapters=[POLICY], state_dict=state)

    def save_critic(self, folder: Path, *, writes: bool = True) -> None:
        """See :class:`ActorCritic`."""
        assert self.head is not None
        state, head = _whole(self._parameters(CRITIC), writes), _whole(self.head.state_dict(keep_vars=True), writes)
        if not writes:
            return
        staging = folder.with_name(f".{folder.name}.partial")
        self.model.save_pretrained(str(staging), selected_adapters=[CRITIC], state_dict=state)
        (staging / CRITIC).rename(folder)  # PEFT adds the adapter's name
        shutil.rmtree(staging)
        save_file(head, str(folder / HEAD_FILE))


class FullActorCritic(ActorCritic):
    """All weights are trained; the reference and the critic are models of their own.

    Args:
        model: The policy.
        keep_reference: Whether to keep a frozen copy.
        critic: Whether there is a critic, a copy of the policy's trunk with a value head, and whether it is trained or
            only its head is set.
        critic_weights: Folder of a critic to go on with.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        keep_reference: bool,
        critic: CriticTrunk | None = None,
        critic_weights: Path | None = None,
    ) -> None:
        self.model = model
        self._critic_trunk = critic
        self._frozen = copy.deepcopy(model).requires_grad_(False).eval() if keep_reference else None
        self._trunk: nn.Module | None = None
        if critic is not None:
            self._trunk = copy.deepcopy(model.base_model).requires_grad_(critic == "trained")
            self.head = ValueHead(_hidden_size(model)).to(model.device).requires_grad_(critic == "trained")
            if critic_weights is not None:
                self._load_critic(critic_weights)
        self._policy: nn.Module = PackModel(model)
        self._reference: nn.Module | None = PackModel(self._frozen) if self._frozen is not None else None
        self._critic: nn.Module | None = PackModel(self._trunk, self.head) if self._trunk is not None else None

    def shard(self, split: Callable[[nn.Module], nn.Module]) -> None:
        """See :class:`ActorCritic`."""
        self._policy = split(self._policy)
        self._reference = self._reference and split(self._reference)
        self._critic = self._critic and split(self._critic)
        self.sharded = True

    def _load_critic(self, folder: Path) -> None:
        assert self.head is not None
        assert self._trunk is not None
        self.head.load(folder)
        try:
            self._trunk.load_state_dict(load_file(str(folder / "model.safetensors")))
        except (RuntimeError, OSError) as error:
            raise _misfit(folder, str(error).splitlines()[0]) from error

    def actor_parameters(self) -> dict[str, nn.Parameter]:
        """See :class:`ActorCritic`."""
        return dict(self.model.named_parameters())

    def critic_parameters(self) -> dict[str, nn.Parameter]:
        """See :class:`ActorCritic`."""
        if self.head is None or self._trunk is None or self._critic_trunk == "frozen":
            return {}
        return {
            f"{part}.{n}": p
            for part, m in (("trunk", self._trunk), ("head", self.head))
            for n, p in m.named_parameters()
        }

    def act(self, pack: Pack, *, entropy_gradient: bool = False) -> Scored:
        """See :class:`ActorCritic`."""
        return Scored(*self._policy(pack, entropy_gradient=entropy_gradient))

    @torch.no_grad()
    def refer(self, pack: Pack) -> Tensor:
        """See :class:`ActorCritic`."""
        assert self._reference is not None
        return cast(Tensor, self._reference(pack)[0])

    def values(self, pack: Pack) -> Valued:
        """See :class:`ActorCritic`."""
        assert self._critic is not None
        return Valued(*self._critic(pack, wanted="values"))

    def train(self, mode: bool = True) -> None:
        """See :class:`ActorCritic`."""
        self.model.train(mode)
        if self._trunk is not None:
            self._trunk.train(mode)

    def policy_weights(self) -> dict[str, Tensor]:
        """The policy by its names in a checkpoint, as it is held: whole tensors, or this process's shards."""
        return dict(self.model.named_parameters())

    def save_policy(self, folder: Path, *, writes: bool = True) -> None:
        """See :class:`ActorCritic`."""
        state = _whole(self.model.state_dict(keep_vars=True), writes)
        if writes:
            self.model.save_pretrained(str(folder), state_dict=state)

    def save_critic(self, folder: Path, *, writes: bool = True) -> None:
        """See :class:`ActorCritic`."""
        assert self.head is not None
        assert self._trunk is not None
        trunk, head = (_whole(part.state_dict(keep_vars=True), writes) for part in (self._trunk, self.head))
        if not writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        save_file(trunk, str(folder / "model.safetensors"))
        save_file(head, str(folder / HEAD_FILE))


def _whole(tensors: Mapping[str, Tensor], writes: bool) -> dict[str, Tensor]:
    """Without shards and on the CPU, for the process that ``writes``; nothing for the others, who give their shards."""
    gathered = {}
    for name, tensor in tensors.items():
        full = whole(tensor)
        if writes:
            gathered[name] = full.cpu().contiguous()
    return gathered


def _hidden_size(model: PreTrainedModel) -> int:
    return cast(nn.Embedding, model.get_input_embeddings()).embedding_dim


def _misfit(folder: Path, what: str) -> ModelError:
    remedy = "name the critic of a ppo stage on the same base model, or leave critic.weights out for a new one"
    return ModelError(f"the critic does not fit the base model: {what}", where=folder, remedy=remedy)
