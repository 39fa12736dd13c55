"""What an episode is played for: a task and which attempt at it."""

from dataclasses import dataclass

from copilot.envs.task import Task


@dataclass(frozen=True)
class Job:
    """One episode to play."""

    task: Task
    """The task."""
    attempt: int
    """0 .. K-1."""

    @property
    def key(self) -> tuple[str, int]:
        """What identifies the episode in a store."""
        return self.task.id, self.attempt
