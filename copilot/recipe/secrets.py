"""Secrets of the environment (``*_KEY``, ``*_TOKEN``, ``*_SECRET``...) never reach a log or a saved recipe.

Stages need them (an API key), and what a library prints is not ours to choose: so every line is scrubbed on its way.
"""

import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)S?(_|$|\d)", re.IGNORECASE)
_SHORTEST = 8


class Scrubber:
    """Replaces secret values by ``[NAME]``; call it on a text.

    Args:
        environ: The environment whose secrets are hidden; values under 8 characters are too common to be hidden.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        found = {v: k for k, v in environ.items() if _SECRET_NAME.search(k) and len(v) >= _SHORTEST}
        self._names = found
        longest_first = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def __call__(self, text: str) -> str:
        """``text`` without the secrets."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: f"[{self._names[match[0]]}]", text)
