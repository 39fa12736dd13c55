"""Three sets of weights on one base: gradients flow where they should, nowhere else, and survive each other."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from copilot.errors import ModelError
from copilot.online.config import CriticTrunk
from copilot.online.model import HEAD_FILE, ActorCritic, AdapterActorCritic, FullActorCritic
from copilot.online.packing import Pack, make_packs
from copilot.online.scoring import Valued, hidden_states
from copilot.policy.factory import Weights
from copilot.training.config import LoraSettings, TrainingConfig
from copilot.training.weights import load_trainable, lora_config

from .uneven import make_rows

SHAPE = lora_config(TrainingConfig(lora=LoraSettings(r=4, alpha=8)))


@pytest.fixture
def adapter(model: PeftModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def actor_critic(model: PeftModel, adapter: Path) -> AdapterActorCritic:
    return AdapterActorCritic(model, reference=str(adapter), keep_reference=True, critic=SHAPE)


def pack_of(groups: int = 2) -> Pack:
    return make_packs(make_rows(groups, 3), tokens=4000, device=torch.device("cpu"))[0]


def touched(parameters: dict[str, torch.nn.Parameter]) -> set[str]:
    return {name for name, p in parameters.items() if p.grad is not None and bool(p.grad.count_nonzero())}


def test_both_keep_their_gradients_in_either_order(actor_critic: AdapterActorCritic) -> None:
    pack = pack_of()
    actor, critic = actor_critic.actor_parameters(), actor_critic.critic_parameters()
    assert actor
    assert critic
    assert not set(map(id, actor.values())) & set(map(id, critic.values()))
    torch.nn.init.normal_(critic["head.weight"])
    for forwards in ((actor_critic.act, actor_critic.values), (actor_critic.values, actor_critic.act)):
        for forward in forwards:
            actor_critic.refer(pack)
            found = forward(pack)
            (found.values_N if isinstance(found, Valued) else found.logps_N).sum().backward()
        assert len(touched(actor)) == len(actor)
        assert len(touched(critic)) == len(critic), "it begins as a copy of the policy, whose matrices are not 0"
        for parameter in [*actor.values(), *critic.values()]:
            parameter.grad = None


def test_nothing_else_ever_has_a_gradient(actor_critic: AdapterActorCritic) -> None:
    pack = pack_of()
    actor_critic.act(pack).logps_N.sum().backward()
    actor_critic.values(pack).values_N.sum().backward()
    actor_critic.refer(pack)
    trained = {id(p) for p in [*actor_critic.actor_parameters().values(), *actor_critic.critic_parameters().values()]}
    others = [p for p in actor_critic.model.parameters() if id(p) not in trained]
    assert others
    assert not [p for p in others if p.grad is not None or p.requires_grad]


def test_the_first_kl_is_zero_and_the_reference_stays(actor_critic: AdapterActorCritic) -> None:
    pack = pack_of()
    before = actor_critic.refer(pack)
    assert torch.equal(actor_critic.act(pack).logps_N, before)
    with torch.no_grad():
        for parameter in actor_critic.actor_parameters().values():
            parameter.add_(0.1)
    assert torch.equal(actor_critic.refer(pack), before)
    assert not torch.equal(actor_critic.act(pack).logps_N, before)


def test_a_new_adapters_reference_is_the_base(tiny: Path) -> None:
    fresh = load_trainable(Weights(str(tiny)), TrainingConfig(lora=LoraSettings(r=4)), dtype=torch.float32)
    assert isinstance(fresh, PeftModel)
    found = AdapterActorCritic(fresh, reference=None, keep_reference=True)
    pack = pack_of()
    assert torch.equal(found.act(pack).logps_N, found.refer(pack))
    found.act(pack).logps_N.sum().backward()
    assert touched(found.actor_parameters())


def test_a_new_critic_begins_as_the_policy_does(actor_critic: AdapterActorCritic, model: PeftModel) -> None:
    actor, critic = actor_critic.actor_parameters(), actor_critic.critic_parameters()
    assert all(
        torch.equal(actor[name.replace(".critic.", ".default.")], p) for name, p in critic.items() if "lora" in name
    )
    fresh = load_trainable(
        Weights(str(model.peft_config["default"].base_model_name_or_path)), TrainingConfig(), dtype=torch.float32
    )
    assert isinstance(fresh, PeftModel)
    new = AdapterActorCritic(fresh, reference=None, keep_reference=False, critic=SHAPE).critic_parameters()
    shapes = {p.shape[0] for name, p in new.items() if "lora_A" in name}
    assert shapes == {SHAPE.r}, "without an adapter to enter with, its shape is its own"


def test_a_new_critic_says_zero_everywhere(actor_critic: AdapterActorCritic) -> None:
    assert not actor_critic.values(pack_of()).values_N.count_nonzero()


def test_nothing_of_a_frozen_critic_has_a_gradient(model: PeftModel, adapter: Path, tiny: Path) -> None:
    with_adapter = AdapterActorCritic(
        model, reference=str(adapter), keep_reference=True, critic=SHAPE, critic_trunk="frozen"
    )
    for actor_critic in (with_adapter, full(tiny, trunk="frozen")):
        assert not actor_critic.critic_parameters()
        pack = pack_of()
        actor_critic.act(pack).logps_N.sum().backward()
        valued = actor_critic.values(pack)
        assert not valued.states_NH.requires_grad
        assert torch.allclose(valued.states_NH, hidden_of(actor_critic, pack), atol=1e-6), "the policy's as it entered"
        assert touched(actor_critic.actor_parameters())


def hidden_of(actor_critic: ActorCritic, pack: Pack) -> torch.Tensor:
    """The policy's own states."""
    assert isinstance(actor_critic, AdapterActorCritic | FullActorCritic)
    if isinstance(actor_critic, FullActorCritic):
        return hidden_states(actor_critic.model.base_model, pack)
    actor_critic.act(pack)  # its adapter is the active one now
    return hidden_states(actor_critic.base.base_model, pack)


def full(tiny: Path, critic: Path | None = None, trunk: CriticTrunk = "trained") -> FullActorCritic:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    return FullActorCritic(model, keep_reference=True, critic=trunk, critic_weights=critic)


def test_full_weights_have_a_reference_and_a_critic_of_their_own(tiny: Path) -> None:
    whole, pack = full(tiny), pack_of()
    assert torch.equal(whole.act(pack).logps_N, whole.refer(pack))
    torch.nn.init.normal_(whole.critic_parameters()["head.weight"])
    whole.values(pack).values_N.sum().backward()
    assert not touched(whole.actor_parameters())
    whole.act(pack).logps_N.sum().backward()
    assert touched(whole.actor_parameters())
    assert touched(whole.critic_parameters())


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_critic_comes_back(kind: str, tiny: Path, adapter: Path, tmp_path: Path) -> None:
    def again(critic: Path | None = None) -> ActorCritic:
        if kind == "full":
            return full(tiny, critic)
        model = load_trainable(Weights(str(tiny), str(adapter)), TrainingConfig(), dtype=torch.float32)
        assert isinstance(model, PeftModel)
        return AdapterActorCritic(model, reference=None, keep_reference=False, critic=SHAPE, critic_weights=critic)

    first = again()
    with torch.no_grad():
        for parameter in first.critic_parameters().values():
            parameter.normal_(std=0.1)
    values = first.values(pack_of()).values_N
    first.save_critic(tmp_path / "critic")
    assert torch.equal(again(tmp_path / "critic").values(pack_of()).values_N, values)


def test_what_is_served_is_the_policy_alone(actor_critic: AdapterActorCritic, tmp_path: Path) -> None:
    actor_critic.save_policy(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".safetensors") == [
        "adapter_model.safetensors"
    ]
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()]


@pytest.mark.parametrize("fault", ["missing", "hidden size"])
def test_a_critic_that_does_not_fit_is_refused(fault: str, model: PeftModel, tmp_path: Path) -> None:
    first = AdapterActorCritic(model, reference=None, keep_reference=False, critic=SHAPE)
    folder = tmp_path / "critic"
    first.save_critic(folder)
    head = load_file(str(folder / HEAD_FILE))
    (folder / HEAD_FILE).unlink()
    if fault == "hidden size":
        save_file({"weight": torch.zeros(1, 99), "bias": head["bias"]}, str(folder / HEAD_FILE))
    second = load_trainable(
        Weights(str(model.peft_config["default"].base_model_name_or_path)), TrainingConfig(), dtype=torch.float32
    )
    assert isinstance(second, PeftModel)
    with pytest.raises(ModelError, match=fault if fault != "missing" else HEAD_FILE):
        AdapterActorCritic(second, reference=None, keep_reference=False, critic=SHAPE, critic_weights=folder)
