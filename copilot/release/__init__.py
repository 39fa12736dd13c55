"""Checkpoints that others load in a line: standard folders plus ``copilot.json`` and a model card."""
