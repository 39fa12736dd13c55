"""The ``rollout:`` section of a recipe: how episodes are played. Nothing heavy is imported here."""

from pydantic import Field

from copilot.config import StrictModel
from copilot.envs.environment import FEEDBACK_CHARS, MAX_TURNS
from copilot.envs.feedback import MIN_CAP
from copilot.envs.prompt import PromptConfig
from copilot.envs.protocols.base import ProtocolName
from copilot.envs.sandboxes.base import SandboxConfig
from copilot.policy.base import SamplingParams


class RolloutConfig(StrictModel):
    """How episodes are played."""

    protocol: ProtocolName = "markdown"
    """How the policy writes its actions."""
    prompt: PromptConfig = Field(default_factory=PromptConfig)
    """What it is told before its first turn."""
    max_turns: int = Field(default=MAX_TURNS, ge=1)
    """Model messages per episode."""
    max_repeats: int | None = Field(default=None, ge=2)
    """Turns in a row with the same action (or none) and the same feedback that end an episode as a loop.
    Empty: never, as in the paper."""
    concurrency: int = Field(default=16, ge=1)
    """Episodes played at once, per rank."""
    sampling: SamplingParams = Field(default_factory=SamplingParams)
    """How tokens are drawn."""
    sandbox: SandboxConfig = Field(default_factory=SandboxConfig)
    """Where code runs."""
    feedback_chars: int = Field(default=FEEDBACK_CHARS, ge=MIN_CAP)
    """Longest feedback, in characters; head and tail are kept."""
    retries: int = Field(default=2, ge=0)
    """Times an episode is played again after an infrastructure failure, before it is recorded as masked."""


__all__ = ["PromptConfig", "RolloutConfig"]
