"""The settings of the online stages; nothing heavy is imported here.

Sizes are global, as everywhere: ``groups * group_size`` episodes make a step on one process and on sixteen.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from copilot.config import StrictModel
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.reward.terms import VERIFIER, get_term
from copilot.rollout.config import RolloutConfig
from copilot.rollout.selection import TaskSelection
from copilot.stages.base import StageConfig, stage_ids
from copilot.training.config import LoraSettings, WeightsConfig

GroupAdvantage = Literal["std", "mean", "leave_one_out"]
"""Group-relative estimators: GRPO, Dr. GRPO, RLOO."""
SurrogateName = Literal["clipped", "gspo", "cispo"]
"""Surrogate objectives."""
KlEstimator = Literal["k1", "k2", "k3"]
"""Per-token estimates of the KL divergence."""
Aggregation = Literal["token", "sequence", "constant"]
"""How token losses are averaged."""
ServedPolicy = Annotated[VllmConfig | TransformersConfig, Field(discriminator="type")]
"""Engines whose weights can be updated while they serve."""


class ClipSettings(StrictModel):
    """How far a token's ratio may move."""

    low: NonNegativeFloat = 0.2
    """Below 1."""
    high: NonNegativeFloat = 0.28
    """Above 1; larger than ``low`` keeps exploration alive (clip-higher)."""
    dual: float | None = Field(default=None, gt=1)
    """Largest ratio of a token with negative advantage; empty: none."""


class KlSettings(StrictModel):
    """The pull towards the reference: the weights as they entered the stage."""

    coefficient: NonNegativeFloat = 1e-3
    """Strength; 0: no reference is kept."""
    estimator: KlEstimator = "k3"
    """Per-token estimate."""
    unbiased: bool = True
    """Weigh it by the token's ratio, so that its gradient is the divergence's own (DeepSeek-V3.2, arXiv 2512.02556)."""


class CorrectionSettings(StrictModel):
    """What is done about the difference between the policy that sampled and the trainer."""

    kind: Literal["none", "truncate", "mask"] = "truncate"
    """``truncate``: ratios above ``high`` count as ``high``; ``mask``: ratios outside count as 0."""
    level: Literal["token", "sequence"] = "token"
    """One ratio per token, or their geometric mean per row."""
    low: NonNegativeFloat = 0.5
    """Smallest ratio kept by ``mask``."""
    high: PositiveFloat = 2.0
    """Largest ratio kept."""


class LossSettings(StrictModel):
    """The policy's loss."""

    surrogate: SurrogateName = "clipped"
    """Which objective."""
    clip: ClipSettings = Field(default_factory=ClipSettings)
    """Its bounds."""
    aggregation: Aggregation = "token"
    """``token`` (DAPO), ``sequence`` (GRPO) or ``constant`` (Dr. GRPO)."""
    kl: KlSettings = Field(default_factory=KlSettings)
    """The pull towards the reference."""
    entropy: NonNegativeFloat = 0.0
    """Weight of an entropy bonus."""
    correction: CorrectionSettings = Field(default_factory=CorrectionSettings)
    """Between server and trainer."""


class OnlineTraining(WeightsConfig):
    """How weights are moved between two rollouts."""

    learning_rate: PositiveFloat = 1e-5
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "constant_with_warmup"
    """Learning rate over the steps."""
    epochs: PositiveInt = 1
    """Times each sampled token is trained on, once per epoch."""
    minibatches: PositiveInt = 1
    """Optimiser updates per epoch; each has an equal part of the step's rows."""
    forward_tokens: PositiveInt = 4096
    """Tokens of a packed forward, at most (a longer row has a forward of its own)."""
    max_tokens: PositiveInt = 16384
    """Longer rows are masked and counted."""
    sharding: Literal["none", "fsdp"] = "none"
    """``fsdp``: weights, gradients and optimiser in shards over the processes (FSDP2); ``none``: each has it all, or
    ``deepspeed`` splits it."""
    save_every_steps: PositiveInt = 1
    """Resumable checkpoint every so many steps; a killed run replays the rollouts since then from disk."""


class VerifierTerm(StrictModel):
    """A trained verifier as the reward term ``verifier``: its calibrated probability that an episode is right."""

    weights: str
    """A ``verifier`` stage's id, or a verifier's folder (with a ``/``)."""
    engine: ServedPolicy = Field(default_factory=TransformersConfig)
    """``transformers`` (in process, both heads) or ``vllm`` (the YES/NO head, a server of its own)."""


class CurriculumSettings(StrictModel):
    """Which tasks are played: those of medium difficulty more often, by what was seen of them."""

    weight: float = Field(default=0.0, ge=0, le=1)
    """Share of draws by difficulty, ``p (1 - p)``; the rest goes through all tasks, kinds of question evenly spread."""
    memory: float = Field(default=0.5, gt=0, le=1)
    """Weight of a task's latest success rate in its estimate."""


class DynamicSampling(StrictModel):
    """Groups whose rewards are all equal teach a group-relative estimator nothing (DAPO)."""

    enabled: bool = True
    """Replace them by fresh ones, counted."""
    limit: PositiveFloat = 2.0
    """At most so many times ``groups`` are replaced per step; then flat groups are kept."""


class Staleness(StrictModel):
    """Whether rollouts go on while the trainer trains."""

    bound: NonNegativeInt = 0
    """Versions a group's policy may be behind the trainer; 0: synchronous."""
    past_bound: Literal["refuse", "correct"] = "refuse"
    """Groups behind by more are thrown away, counted; or trained on with their importance weights."""


class OnlineStage(StageConfig, TaskSelection):
    """What GRPO and PPO share."""

    adapter: str = ""
    """What to go on from, and the reference: a training stage's id or a folder; empty: the recipe's model."""
    policy: ServedPolicy = Field(default_factory=VllmConfig)
    """The engine that samples."""
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    """How episodes are played."""
    steps: PositiveInt = 100
    """Rollout-and-train steps."""
    groups: PositiveInt = 16
    """Tasks per step."""
    group_size: PositiveInt = 8
    """Episodes per task."""
    rewards: dict[str, float] = Field(default={"answer": 1.0}, min_length=1)
    """Weights of the reward terms, by name (``reward/terms``, and ``verifier``)."""
    verifier: VerifierTerm | None = None
    """What scores the term ``verifier``; needed where ``rewards`` has it."""
    mask_overlong: bool = True
    """Leave episodes that ran into a token limit out of the loss, counted, instead of scoring them."""
    loss: LossSettings = Field(default_factory=LossSettings)
    """The policy's loss."""
    dynamic_sampling: DynamicSampling = Field(default_factory=DynamicSampling)
    """Refill of groups without variance."""
    curriculum: CurriculumSettings = Field(default_factory=CurriculumSettings)
    """Which tasks are played."""
    staleness: Staleness = Field(default_factory=Staleness)
    """Synchronous or overlapped."""
    training: OnlineTraining = Field(default_factory=OnlineTraining)
    """How weights are moved."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name in self.rewards:
            if name != VERIFIER:
                get_term(name)
        if (VERIFIER in self.rewards) != (self.verifier is not None):
            raise ValueError("rewards.verifier and the section verifier go together: give both, or neither")
        if self.rollout.sampling.temperature <= 0:
            raise ValueError("rollout.sampling.temperature: greedy episodes of a task are all the same; set it above 0")
        if self.rollout.sampling.top_p < 1:
            raise ValueError(
                "rollout.sampling.top_p: outside the nucleus tokens have no importance weight; set it to 1"
            )
        if self.dynamic_sampling.enabled and self.group_size < 2:
            raise ValueError("dynamic_sampling: a group of one has no variance; turn it off, or raise group_size")
        if isinstance(self.policy, VllmConfig) and self.policy.sleep_mode and self.staleness.bound:
            raise ValueError("policy.sleep_mode: an overlapped server never sleeps; set staleness.bound: 0")
        if (
            isinstance(self.policy, VllmConfig)
            and self.policy.weight_sync != "files"
            and self.training.method == "lora"
        ):
            raise ValueError("policy.weight_sync: adapters are loaded from files; leave it out, or set method: full")
        if self.training.deepspeed and self.training.sharding != "none":
            raise ValueError("training.sharding and training.deepspeed both split the weights; set one of them")
        if self.training.deepspeed not in ("", "zero2", "zero3"):
            raise ValueError("training.deepspeed: online stages take zero2 or zero3, no file of your own")
        if self.staleness.past_bound == "correct" and self.loss.correction.kind == "none":
            raise ValueError("staleness.past_bound 'correct' needs loss.correction")
        return self

    def upstream(self) -> list[str]:
        """The stages gone on from and scored with; a name with a ``/`` is a folder."""
        return stage_ids(self.adapter, self.verifier.weights if self.verifier else "")


class GrpoConfig(OnlineStage):
    """Group-relative policy optimisation: no critic, each episode against its siblings."""

    type: Literal["grpo"] = "grpo"
    """This stage."""
    group_size: int = Field(default=8, ge=2)
    """Episodes per task."""
    advantage: GroupAdvantage = "std"
    """``std`` (GRPO), ``mean`` (Dr. GRPO) or ``leave_one_out`` (RLOO)."""


CriticTrunk = Literal["trained", "frozen"]
"""What is below a critic's head. ``trained``: a copy of the policy, trained with the head by gradient after the warm-up
(as is usual). ``frozen``: the policy as it entered; only the head learns, in closed form, in every step and from
all tasks so far. That costs one forward of the rows, where ``trained`` costs an update as well."""


class CriticSettings(StrictModel):
    """The critic of PPO: with ``method: lora`` a second adapter and a value head on the policy's own frozen base."""

    trunk: CriticTrunk = "trained"
    """Whether what is below the head learns too; see :data:`CriticTrunk`."""

    weights: str = ""
    """Critic to go on with: a ``ppo`` stage's id or a folder; empty: a new one."""
    lora: LoraSettings = Field(default_factory=LoraSettings)
    """Shape of a new critic's adapter where the policy's is new too; else it begins as a copy of the policy's."""
    learning_rate: PositiveFloat = 1e-4
    """Of a trained trunk and its head."""
    clip: float | None = Field(default=0.2, gt=0)
    """How far a value may move in a step, by gradient; empty: anywhere."""
    coefficient: PositiveFloat = 0.5
    """Weight of its loss."""
    warmup_steps: NonNegativeInt = 0
    """Steps in which only the critic's head learns: in closed form, from all tasks so far."""

    def fits_head(self, step: int) -> bool:
        """Whether step ``step`` (from 1) sets the head in closed form."""
        return self.trunk == "frozen" or step <= self.warmup_steps


class PpoConfig(OnlineStage):
    """Proximal policy optimisation with a critic."""

    type: Literal["ppo"] = "ppo"
    """This stage."""
    group_size: PositiveInt = 1
    """Episodes per task."""
    baseline: Literal["none", "group"] = "none"
    """``group``: a reward counts over the mean of its siblings' (REINFORCE++ with baseline, arXiv 2501.03262), and the
    critic learns what goes better or worse than that. For runs too short to teach it one task from another."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount per trained token."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """GAE's trace decay per trained token."""
    whiten: bool = True
    """Scale the advantages of a step to mean 0 and deviation 1."""
    critic: CriticSettings = Field(default_factory=CriticSettings)
    """The critic."""
    dynamic_sampling: DynamicSampling = Field(default_factory=lambda: DynamicSampling(enabled=False))
    """Refill of groups without variance; a critic learns from these too."""

    @model_validator(mode="after")
    def _has_siblings(self) -> Self:
        if self.baseline == "group" and self.group_size < 2:
            raise ValueError("baseline: group: an attempt without siblings has none; raise group_size")
        return self

    def upstream(self) -> list[str]:
        """The stages gone on from."""
        return [*super().upstream(), *stage_ids(self.critic.weights)]
