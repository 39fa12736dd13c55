"""The teacher: plays each task's own reference program through the real environment, a turn at a time.

It is the only engine that looks at a task's reference. Its token ids are the tokenizer's encoding of what it wrote
plus the end-of-turn token, so its trajectories train like sampled ones; it has no log-probabilities.
"""

import asyncio

from copilot.envs.protocols.base import get_protocol
from copilot.envs.sources.base import get_source
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.policy.config import ReferenceConfig
from copilot.policy.tokens import load_tokenizer, template_stop


class ReferencePolicy(Policy):
    """The ``reference`` engine.

    Args:
        config: Its section of the recipe.
        model: Whose tokenizer to use.
    """

    label = "reference"

    def __init__(self, config: ReferenceConfig, *, model: str) -> None:
        self._config, self._model = config, model

    async def start(self) -> None:
        """Load the tokenizer."""
        self.tokenizer = await asyncio.to_thread(load_tokenizer, self._model)

    async def generate(self, request: GenerationRequest) -> Generation:
        """Write the demonstration's next action; past its end, its last one again."""
        assert self.tokenizer is not None
        actions = get_source(request.task.source).demonstration(request.task)
        text = get_protocol(request.protocol).render(actions[min(request.turn, len(actions) - 1)])
        token_ids = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], template_stop(self.tokenizer)[1]]
        return Generation(
            text=text,
            token_ids=token_ids,
            policy_version="reference",
            prompt_tokens=len(request.prompt_ids or ()),
            completion_tokens=len(token_ids),
        )

    async def close(self) -> None:
        """Nothing to release."""
