"""What vLLM gets from us through its plug-in hook: LoRA that is fast on a CPU, and weights over gloo."""

import os

from copilot.policy import cpu_lora
from copilot.policy.broadcast import BACKENDS


def register() -> None:
    """vLLM calls it in each of its processes.

    The first is for servers that we start (:data:`copilot.policy.cpu_lora.SWITCH`); the second is a name in vLLM's
    table of backends, without effect until ``--weight-transfer-config`` asks for it.
    """
    if os.environ.get(cpu_lora.SWITCH) == "1":
        cpu_lora.install()
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    if BACKENDS["gloo"] not in WeightTransferEngineFactory._registry:  # the hook may be called twice in a process
        WeightTransferEngineFactory.register_engine(
            BACKENDS["gloo"], "copilot.policy.gloo_transfer", "GlooWeightTransferEngine"
        )
