"""Commands of ``med-copilot``: one module each, with a module-level ``COMMAND`` (a click command or group)."""
