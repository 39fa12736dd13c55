"""One training step on the same trajectories: packed forwards against TRL's GRPOTrainer with its padded batches.

    python benchmarks/train_step.py                                # lengths of benchmarks/traces/ehrsql2024.json
    python benchmarks/train_step.py --record STORE... > trace.json  # makes a trace from trajectory stores

Same model, LoRA, rows, loss (token mean, no KL, one update); TRL pads as its trainer does: every prompt on the left to
the batch's longest, every completion on the right. Tokens are those of the trajectories, padding not counted.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import ROOT, write_result
from datasets import Dataset
from transformers import AutoTokenizer

from copilot.models.fetch import resolve_model
from copilot.online.config import LossSettings, OnlineTraining
from copilot.online.model import AdapterActorCritic
from copilot.online.optimizer import AdamPart
from copilot.online.packing import bundles, tree_tokens
from copilot.online.ranks import Ranks
from copilot.online.rows import TrainRow
from copilot.online.update import Updater
from copilot.policy.factory import Weights
from copilot.training.weights import load_trainable

TRACE = Path(__file__).parent / "traces" / "ehrsql2024.json"
Lengths = dict[str, Any]


def main() -> None:
    """Measure, or record a trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", nargs="+", type=Path, help="trajectory stores")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--micro-batch", type=int, default=2, help="TRL's rows per forward")
    parser.add_argument("--forward-tokens", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.record:
        json.dump(record(options.record), sys.stdout)
        return
    measure(options)


def record(stores: list[Path]) -> Lengths:
    """Lengths of every episode's prompt and turns (sampled tokens, then what the environment said)."""
    from copilot.data.store import read_trajectories

    episodes = []
    for store in stores:
        for trajectory in read_trajectories(store):
            if trajectory.masked or len(trajectory.rows) != 1:
                continue
            spans = trajectory.rows[0].spans
            turns = [
                [span.end - span.start, (following.start if following else span.end) - span.end]
                for span, following in zip(spans, [*spans[1:], None], strict=True)
            ]
            episodes.append({"prompt": spans[0].start, "turns": turns})
    return {"source": "ehrsql2024, split valid", "episodes": episodes}


def make_rows(lengths: Lengths, options: argparse.Namespace, vocabulary: int) -> list[TrainRow]:
    """Groups with the prompts of the trace's first episodes; attempts have the turns of episodes drawn from it."""
    rng, rows = random.Random(options.seed), list[TrainRow]()
    episodes = lengths["episodes"]
    for group in range(options.groups):
        prompt = [rng.randrange(vocabulary) for _ in range(episodes[group % len(episodes)]["prompt"])]
        for _ in range(options.group_size):
            ids, trained = list(prompt), list[int]()
            for sampled, said in rng.choice(episodes)["turns"]:
                trained += range(len(ids), len(ids) + sampled)
                ids += [rng.randrange(vocabulary) for _ in range(sampled + said)]
            count = len(trained)
            row = TrainRow(
                ids, trained, torch.full((count,), -5.0), torch.zeros(count, dtype=torch.long), 1.0, 0, group
            )
            row.episode, row.advantages_N = len(rows), torch.full((count,), rng.uniform(-1, 1))
            rows.append(row)
    return rows


def ours(model_path: str, rows: list[TrainRow], options: argparse.Namespace) -> Callable[[int], float]:
    """A function that takes a step and says its loss."""
    training = OnlineTraining(learning_rate=1e-5, forward_tokens=options.forward_tokens)
    loss = LossSettings.model_validate(
        {"kl": {"coefficient": 0}, "correction": {"kind": "none"}, "clip": {"high": 0.2}}
    )
    torch.manual_seed(0)
    loaded = load_trainable(Weights(model_path), training, dtype=torch.float32)
    model = AdapterActorCritic(loaded, reference=None, keep_reference=False)  # type: ignore[arg-type]
    policy = AdamPart("policy", model.actor_parameters(), peak=1e-5, settings=training)
    updater = Updater(model, policy, None, Ranks(), training, loss, None, steps=100, row_constant=1, seed=0)
    return lambda step: updater.run(step, rows, rows)["loss"]


def trls(model_path: str, rows: list[TrainRow], options: argparse.Namespace, folder: str) -> Callable[[int], float]:
    """The same by TRL: padded micro-batches through its loss, backward, clipping, AdamW."""
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    torch.manual_seed(0)
    model = load_trainable(Weights(model_path), OnlineTraining(), dtype=torch.float32)
    arguments = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        report_to="none",
        per_device_train_batch_size=len(rows),
        num_generations=options.group_size,
        beta=0.0,
        loss_type="dapo",
        epsilon=0.2,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "x"}] * len(rows)),
        processing_class=AutoTokenizer.from_pretrained(model_path),
    )
    micro = [rows[at : at + options.micro_batch] for at in range(0, len(rows), options.micro_batch)]
    trainer.current_gradient_accumulation_steps = len(micro)
    arguments.steps_per_generation = len(micro)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0)
    width = padded_width(rows)

    def step(_: int) -> float:
        model.train()
        total = 0.0
        for part in micro:
            inputs = pad(part, *width) | {"num_items_in_batch": torch.tensor(sum(len(row.trained) for row in rows))}
            loss = trainer._compute_loss(trainer.model, inputs)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        adam.zero_grad()
        return total

    return step


def padded_width(rows: list[TrainRow]) -> tuple[int, int]:
    """Longest prompt and longest completion: TRL pads a whole generation batch to these."""
    return max(row.prompt_length for row in rows), max(len(row) - row.prompt_length for row in rows)


def pad(rows: list[TrainRow], prompt: int, completion: int) -> dict[str, torch.Tensor]:
    """TRL's form of a micro-batch."""
    cells: dict[str, list[list[int]]] = {name: [] for name in ("prompt_ids", "prompt_mask", "completion_ids")}
    cells |= {"completion_mask": [], "tool_mask": []}
    for row in rows:
        start, own = row.prompt_length, len(row) - row.prompt_length
        trained = set(row.trained)
        cells["prompt_ids"].append([0] * (prompt - start) + row.ids[:start])
        cells["prompt_mask"].append([0] * (prompt - start) + [1] * start)
        cells["completion_ids"].append(row.ids[start:] + [0] * (completion - own))
        cells["completion_mask"].append([1] * own + [0] * (completion - own))
        cells["tool_mask"].append([int(place in trained) for place in range(start, start + completion)])
    advantages = torch.tensor([row.advantages_N[0].item() for row in rows if row.advantages_N is not None])
    return {name: torch.tensor(values) for name, values in cells.items()} | {"advantages": advantages}


def measure(options: argparse.Namespace) -> None:
    """Both arms in turn, so that a busy moment hits both."""
    lengths, model = json.loads(TRACE.read_text(encoding="utf-8")), resolve_model(options.model)
    vocabulary = len(AutoTokenizer.from_pretrained(model))
    rows = make_rows(lengths, options, vocabulary)
    tokens = sum(map(len, rows))
    with tempfile.TemporaryDirectory() as folder:
        arms = {"packed": ours(model, rows, options), "trl": trls(model, rows, options, folder)}
        seconds: dict[str, list[float]] = {name: [] for name in arms}
        losses: dict[str, list[float]] = {name: [] for name in arms}
        for repeat in range(options.repeats):
            for name, step in arms.items():
                began = time.perf_counter()
                losses[name].append(step(repeat + 1))
                seconds[name].append(time.perf_counter() - began)
    prompt, completion = padded_width(rows)
    padded = (prompt + completion) * len(rows)
    packed = sum(tree_tokens(bundle) for bundle in bundles(rows, options.forward_tokens))
    rate = {name: tokens / min(times) for name, times in seconds.items()}
    summary = {
        "vs_trl_tokens_ratio": rate["packed"] / rate["trl"],
        "packed_tokens_per_second": rate["packed"],
        "trl_tokens_per_second": rate["trl"],
        "trl_padding_fraction": 1 - tokens / padded,
        "packed_padding_fraction": 0.0,
        "packed_computed_fraction": packed / tokens,
        "first_loss_difference": abs(losses["packed"][0] - losses["trl"][0]),
    }
    table = [
        {"arm": name, "repeat": i, "seconds": s, "tokens_per_second": tokens / s, "rows": len(rows), "tokens": tokens}
        for name, times in seconds.items()
        for i, s in enumerate(times)
    ]
    write_result("train_step", summary=summary, rows=table, seed=options.seed, results=ROOT / "benchmarks" / "results")


if __name__ == "__main__":
    main()
