"""Token rows for trajectories of teachers that were recorded as text only (OpenAI-compatible APIs).

Decision: this happens when a dataset is built, with the tokenizer of the model to be trained, so that one store of
teacher trajectories serves any student. What a policy sampled in ids is never touched.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from copilot.data.rows import Sample
from copilot.data.trajectory import TokenRow, Trajectory
from copilot.envs.protocols.base import get_protocol
from copilot.rollout.rendering import Renderer
from copilot.rollout.rows import RowBuilder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROTOCOLS = ("json", "markdown")
"""Protocols whose messages are plain text; with ``tools`` a model's own form is not what the teacher wrote."""


def render_samples(samples: Sequence[Sample], tokenizer: "PreTrainedTokenizerBase") -> list[Sample]:
    """The samples, those without token rows given some where their protocol allows it; order is kept.

    Raises:
        ModelError: The tokenizer has no usable chat template.
    """
    needed = {s.trajectory.protocol for s in samples if lacks_rows(s.trajectory)}
    renderers = {name: Renderer(tokenizer, get_protocol(name)) for name in sorted(needed)}
    return [
        replace(s, trajectory=s.trajectory.evolve(rows=render_rows(s.trajectory, renderers[s.trajectory.protocol])))
        if lacks_rows(s.trajectory)
        else s
        for s in samples
    ]


def lacks_rows(trajectory: Trajectory) -> bool:
    """Whether the trajectory is text only and can be given token rows."""
    return not trajectory.rows and bool(trajectory.turns) and trajectory.protocol in PROTOCOLS


def render_rows(trajectory: Trajectory, renderer: Renderer) -> tuple[TokenRow, ...]:
    """The rows the episode would have had, had the teacher written in the student's tokens.

    A message that was cut off has no stop token: its student is not taught to stop there.
    """
    rows = RowBuilder(renderer.prompt_ids(list(trajectory.prompt)), stop_id=renderer.stop_id, temperature=1.0)
    for turn in trajectory.turns:
        ids, stopped = renderer.encode_assistant(turn.text), turn.finish_reason == "stop"
        rows.add_sampled(turn.index, ids if stopped else ids[:-1], None)
        message = renderer.protocol.feedback_message(turn.feedback)
        rows.add_environment(renderer.feedback_ids(message), stopped=stopped)
    return rows.rows()
