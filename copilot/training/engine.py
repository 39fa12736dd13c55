"""Which engine really drives the weights: asked of the running trainer, never assumed.

DeepSpeed on a CPU (and a mis-set launcher) is easily *not* used without an error; a recipe that asks for ZeRO and
does not get it must fail before the first step.
"""

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
