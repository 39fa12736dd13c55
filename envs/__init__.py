"""The world: tasks and their sources, action protocols, the environment, sandboxes."""
