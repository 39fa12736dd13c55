"""The three wire protocols over the same typed actions: ``json``, ``tools``, ``markdown``."""

from copilot.envs.protocols.base import ProtocolName, WireProtocol, get_protocol

__all__ = ["ProtocolName", "WireProtocol", "get_protocol"]
