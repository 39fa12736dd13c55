"""Seeds derived from names: the same whoever plays an episode, in whatever order."""

import hashlib


def derive(*parts: object) -> int:
    """A seed in ``[0, 2**31)`` that depends on all ``parts`` (numpy, vLLM and the sandbox all take it)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 2**31
