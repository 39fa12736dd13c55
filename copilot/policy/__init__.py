"""Policy engines: ``vllm``, ``transformers``, ``openai``, ``reference``; see :mod:`copilot.policy.base`."""

from copilot.policy.base import Generation, GenerationRequest, Policy, SamplingParams
from copilot.policy.config import PolicyConfig

__all__ = ["Generation", "GenerationRequest", "Policy", "PolicyConfig", "SamplingParams"]
