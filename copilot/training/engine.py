"""Which engine really drives the weights: asked of the running trainer, never assumed.

DeepSpeed on a CPU (and a mis-set launcher) is easily *not* used without an error; a recipe that asks for ZeRO and
does not get it must fail before the first step.
"""

import os
from typing import Any

from accelerate.utils import DistributedType
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from copilot.errors import RecipeError
from copilot.stages.base import StageContext


def engine_of(trainer: Trainer) -> str:
    """``single``, ``ddp``, ``fsdp``, ``deepspeed-zero2``, ... of a trainer that has begun."""
    if trainer.accelerator.distributed_type is DistributedType.DEEPSPEED:
        from deepspeed import DeepSpeedEngine

        if isinstance(trainer.model_wrapped, DeepSpeedEngine):
            return f"deepspeed-zero{trainer.model_wrapped.zero_optimization_stage()}"
    if trainer.accelerator.distributed_type is DistributedType.FSDP:
        return "fsdp"
    return "ddp" if isinstance(trainer.model_wrapped, DistributedDataParallel) else "single"


def prepare_deepspeed_on_cpu() -> None:
    """What DeepSpeed needs on a machine without a GPU, before the trainer's arguments are made.

    With ACCELERATE_USE_CPU set, accelerate takes plain DDP and says nothing; the trainer's ``use_cpu`` is enough. And
    DeepSpeed would compile shared-memory collectives at first use (minutes); gloo does them.
    """
    import deepspeed.ops

    os.environ.pop("ACCELERATE_USE_CPU", None)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class EngineCheck(TrainerCallback):
    """Fails a run whose engine is not the one asked for; logs it otherwise.

    Args:
        trainer: The trainer this is added to.
        ctx: The running stage.
        wanted: ``training.deepspeed``.
    """

    def __init__(self, trainer: Trainer, ctx: StageContext, wanted: str) -> None:
        self._trainer, self._ctx, self._wanted = trainer, ctx, wanted

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The model is wrapped by now."""
        engine = engine_of(self._trainer)
        if self._wanted and not engine.startswith(f"deepspeed-{self._wanted if self._wanted[:4] == 'zero' else ''}"):
            raise RecipeError(
                f"training.deepspeed is {self._wanted!r}, but the engine is {engine!r}",
                remedy="install deepspeed, and start with `accelerate launch` without another engine in its config",
            )
        if args.world_size > 1 and engine == "single":
            raise RecipeError(f"{args.world_size} processes, but the model is not distributed", where="accelerate")
        self._ctx.log(engine=engine, world_size=args.world_size)
