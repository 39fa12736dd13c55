"""A whole trajectory as prompt and completion, for losses over sequences (DPO best-vs-worst, KTO)."""

from dataclasses import dataclass

from copilot.data.rows import Sample


@dataclass(frozen=True)
class WholeTrajectory:
    """Prompt and completion of an episode that lies in one token row."""

    sample: Sample
    """Where it comes from."""
    prompt_ids: tuple[int, ...]
    """What the policy saw before its first token."""
    completion_ids: tuple[int, ...]
    """All turns with the environment's tokens between them, up to the last sampled token."""
    completion_mask: tuple[int, ...]
    """1 exactly on sampled tokens; the environment's are 0."""

    @property
    def tokens(self) -> int:
        """Length in all."""
        return len(self.prompt_ids) + len(self.completion_ids)


def whole(sample: Sample) -> WholeTrajectory | str:
    """The trajectory in one piece, or why it cannot be had."""
    rows = sample.trajectory.rows
    if not rows:
        return "no token ids"
    if len(rows) > 1:
        return "forked"
    row = rows[0]
    start = min((span.start for span in row.spans), default=0)
    end = max((span.end for span in row.spans), default=0)
    if start == end:
        return "nothing to train"
    return WholeTrajectory(sample, row.ids[:start], row.ids[start:end], row.mask[start:end])
