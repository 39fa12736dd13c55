"""One run of a trainer, from rows to weights: the part that SFT, DPO, KTO and the verifier share.

The trainer's own loop is used as it is. What is ours: the order of rows (planned ahead), the reference pass, the
records, and which checkpoints count. Invariant: the same rows, seed and batch size give the same steps on any number
of processes, and a run killed at any moment ends with the losses of an undisturbed one.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments, set_seed

from copilot.errors import RecipeError
from copilot.policy.factory import Weights
from copilot.stages.base import StageContext
from copilot.training.checkpoints import MarkComplete, last_complete, remove_partial, step_of
from copilot.training.config import TrainingConfig, WeightsConfig
from copilot.training.engine import EngineCheck, prepare_deepspeed_on_cpu
from copilot.training.order import PlannedOrder, row_order
from copilot.training.recording import ProgressBar, Recorder, cut_losses
from copilot.training.rows import Format, Row, load_rows, row_length
from copilot.training.scoring import score_labels_only
from copilot.training.weights import load_tokenizer, load_trainable, save_weights


class PlannedTrainer(Trainer):
    """Mixed in before a TRL trainer: our rows as they are, in planned order; no telemetry, no cards in checkpoints."""

    plan: list[int]
    """Row indices, ``batch_size`` per step."""

    def _get_train_sampler(self, train_dataset: Any = None) -> PlannedOrder:
        return PlannedOrder(self.plan)

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        """TRL would tokenise texts here; our rows are ids already."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """TRL would compute the reference here; preference rows bring it along."""
        return dataset

    def _send_telemetry(self) -> None:
        """Nothing about a run on medical data leaves the house."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The release writes the card."""


@dataclass(frozen=True)
class Session:
    """What a trainer is built from."""

    ctx: StageContext
    training: TrainingConfig
    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    rows: list[Row]
    arguments: TrainingArguments
    """Of the trainer's own class."""

    @property
    def base_model(self) -> PreTrainedModel:
        """The model without its PEFT wrapper (adapters are inside)."""
        if isinstance(self.model, PeftModel):
            return cast(PreTrainedModel, self.model.get_base_model())
        return self.model

    @property
    def pad_id(self) -> int:
        """Token that fills up rows."""
        pad_id: int = self.tokenizer.pad_token_id
        return pad_id

    def wait_for_everyone(self) -> None:
        """Barrier over the ranks."""
        self.arguments.distributed_state.wait_for_everyone()


@dataclass(frozen=True)
class Method:
    """What tells SFT, DPO, KTO and the verifier apart."""

    kind: Format
    """Row format."""
    arguments: Callable[..., TrainingArguments]
    """Config class, given :func:`common_arguments`."""
    build: Callable[[Session], PlannedTrainer]
    """Makes the trainer."""
    prepare: Callable[[list[Row]], list[Row]] = list
    """Changes the rows before anything else."""
    load: Callable[..., PreTrainedModel | PeftModel] = load_trainable
    """Loads the model, given where it starts and the settings."""


def run_training(
    method: Method, ctx: StageContext, training: TrainingConfig, *, rows: Path, start: Weights
) -> dict[str, Any]:
    """Train and save; goes on from the last complete checkpoint if there is one.

    Args:
        method: SFT, DPO or KTO.
        ctx: The running stage; the result is ``ctx.folder / "weights"``.
        training: Settings.
        rows: Rows file.
        start: Base model, and the adapter to go on with.

    Returns:
        The stage's outputs: ``weights``, ``kind``, ``steps``.
    """
    use_threads(ctx.world_size)
    loaded, report = load_rows(rows, method.kind, max_tokens=training.max_tokens, too_long=training.too_long)
    steps = training.steps(len(loaded))
    weights = ctx.folder / "weights"
    outputs = {"weights": str(weights), "kind": training.method, "steps": steps}
    if weights.is_dir():
        return outputs
    session = open_session(method, ctx, training, method.prepare(loaded), steps, start)
    if ctx.is_main:
        (ctx.folder / "rows.json").write_text(json.dumps(report.as_json(), indent=1), encoding="utf-8")
        ctx.log(rows=report.kept, rows_dropped=sum(report.dropped.values()), row_tokens=report.tokens)
    trainer = assemble(method, session, steps)
    checkpoint = resume_point(session)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    save_weights(trainer, weights)
    if ctx.is_main:
        shutil.rmtree(checkpoints(ctx), ignore_errors=True)
    return outputs


def open_session(
    method: Method,
    ctx: StageContext,
    training: TrainingConfig,
    rows: list[Row],
    steps: int,
    start: Weights,
) -> Session:
    """Load the model and join the other ranks."""
    dtype = training_dtype(ctx, training)
    if training.deepspeed and not torch.cuda.is_available():
        prepare_deepspeed_on_cpu()
    set_seed(ctx.seed)  # a new adapter starts at random
    model = method.load(start, training, dtype=dtype)
    arguments = method.arguments(**common_arguments(ctx, training, steps, bf16=_autocast(dtype, ctx)))
    if arguments.world_size != ctx.world_size:
        raise RecipeError(
            f"the trainer sees {arguments.world_size} processes, the run has {ctx.world_size}",
            remedy="start it with `accelerate launch` (on CPU: ACCELERATE_USE_CPU=true and --multi_gpu)",
        )
    return Session(ctx, training, model, load_tokenizer(start.model), rows, arguments)


def assemble(method: Method, session: Session, steps: int) -> PlannedTrainer:
    """Build the trainer with our order, scoring and records."""
    training, lengths = session.training, [row_length(row, method.kind) for row in session.rows]
    trainer = method.build(session)
    trainer.plan = row_order(lengths, batch_size=training.batch_size, steps=steps, seed=session.ctx.seed)
    if session.arguments.device.type == "cpu":
        score_labels_only(session.base_model)
    size = training.batch_size
    step_tokens = [sum(lengths[row] for row in trainer.plan[at : at + size]) for at in range(0, steps * size, size)]
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(
        Recorder(
            session.ctx,
            step_tokens=step_tokens,
            rows=len(lengths),
            batch_size=size,
            every=training.logging_steps,
        )
    )
    trainer.add_callback(ProgressBar(session.ctx.stage_id or method.kind))
    trainer.add_callback(MarkComplete(checkpoints(session.ctx), session.wait_for_everyone))
    trainer.add_callback(EngineCheck(trainer, session.ctx, training.deepspeed))
    return trainer


def checkpoints(ctx: StageContext) -> Path:
    """Where the stage keeps its resumable checkpoints while it runs."""
    return ctx.folder / "checkpoints"


def resume_point(session: Session) -> Path | None:
    """The checkpoint to go on from; what lies beyond it on disk is removed by rank 0."""
    folder = checkpoints(session.ctx)
    checkpoint = last_complete(folder)
    session.wait_for_everyone()
    if session.ctx.is_main:
        remove_partial(folder)
        cut_losses(session.ctx.folder / "losses.jsonl", 0 if checkpoint is None else step_of(checkpoint))
    session.wait_for_everyone()
    return checkpoint


def common_arguments(ctx: StageContext, training: TrainingConfig, steps: int, *, bf16: bool) -> dict[str, Any]:
    """Arguments that all TRL configs take. ``max_length=None``: TRL's default would cut rows silently."""
    micro, accumulation = training.micro_batch(ctx.world_size)
    deepspeed = training.deepspeed_file()
    return {
        "output_dir": str(checkpoints(ctx)),
        "max_length": None,
        "max_steps": steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.schedule,
        "warmup_steps": math.ceil(training.warmup_ratio * steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "gradient_checkpointing": training.gradient_checkpointing,
        "save_strategy": "steps" if training.save_every_steps else "no",
        "save_steps": training.save_every_steps or 1,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": ctx.seed,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": bf16,
        "deepspeed": str(deepspeed) if deepspeed else None,
    }


def training_dtype(ctx: StageContext, training: WeightsConfig) -> torch.dtype:
    """Weights' type: what the recipe says, else bfloat16 on a GPU and float32 on a CPU."""
    if ctx.model.dtype != "auto":
        dtype: torch.dtype = getattr(torch, ctx.model.dtype)
        return dtype
    if not torch.cuda.is_available():
        return torch.float32
    # All weights trained without DeepSpeed's own master copy: small updates would be lost in bfloat16.
    return torch.float32 if training.method == "full" and not training.deepspeed else torch.bfloat16


def _autocast(dtype: torch.dtype, ctx: StageContext) -> bool:
    return torch.cuda.is_available() and (dtype is torch.bfloat16 or ctx.model.dtype == "auto")


def use_threads(world_size: int) -> None:
    """Share the CPUs among the processes of this machine; launchers set one thread each and leave the rest idle."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))
