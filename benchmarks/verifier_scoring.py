"""What scoring costs: a verifier's in-process scores over one plain forward pass of the same model on the same tokens.

Attempts are made up (texts of a task with several candidates); the forward pass runs on the very inputs the scorer
encodes, one sequence at a time without padding. Alternating repeats, medians. Wanted: at most 1.2.

    python benchmarks/verifier_scoring.py [--model NAME] [--tasks 8] [--attempts 8] [--repeats 3]
"""

import argparse
import asyncio
import statistics
import time
from typing import Any

import torch
from _common import write_result

from copilot.data.trajectory import Outcome, StopReason, Trajectory, Turn
from copilot.data.transcript import transcript
from copilot.envs.actions import ExecuteCode, Feedback, Submit
from copilot.models.fetch import resolve_model
from copilot.policy.config import TransformersConfig
from copilot.policy.factory import Weights
from copilot.policy.tokens import load_tokenizer
from copilot.verifier.config import VerifierInfo
from copilot.verifier.encoding import Encoder
from copilot.verifier.in_process import InProcessScorer

LIMIT = 1.2


def attempt(task: int, number: int) -> Trajectory:
    """A made-up episode of two to four turns."""
    code = f"answer = sql('SELECT COUNT(*) FROM admissions WHERE hadm_id = {1000 * task + number}')[0][0]"
    work = Turn(
        index=0, text=f"```python\n{code}\n```", action=ExecuteCode(code=code), feedback=Feedback(text="answer = 3")
    )
    last = Turn(
        index=1,
        text="```submit\nanswer\n```",
        action=Submit(variable="answer"),
        feedback=Feedback(text="Submitted.", status="submitted"),
    )
    question = f"How many times was patient {task} admitted to the hospital since 2100, for any reason but transfer?"
    return Trajectory(
        task_id=f"made-up/{task}",
        attempt=number,
        source="made-up",
        policy="none",
        protocol="markdown",
        prompt=({"role": "user", "content": question},),
        turns=(*[work] * (1 + number % 3), last),
        outcome=Outcome(submitted=True, answer=number),
        stop_reason=StopReason.SUBMITTED,
    )


def main() -> None:
    """Measure, print, write ``benchmarks/results/verifier_scoring.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--attempts", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    path = resolve_model(options.model)
    encoder = Encoder(load_tokenizer(path), 2048)
    info = VerifierInfo(head="yes_no", base=path, max_tokens=2048, yes_id=encoder.yes_id, no_id=encoder.no_id)
    scorer = InProcessScorer(info, Weights(path), TransformersConfig(max_batch=16))
    trajectories = [attempt(task, number) for task in range(options.tasks) for number in range(options.attempts)]
    inputs = [torch.tensor([encoder.encode(transcript(t)).ids]) for t in trajectories]
    asyncio.run(scorer.start())
    model: Any = scorer._model
    rows = []
    for repeat in range(options.repeats):
        began = time.perf_counter()
        asyncio.run(scorer.score(trajectories))
        scored = time.perf_counter() - began
        began = time.perf_counter()
        with torch.inference_mode():
            for ids in inputs:
                model(input_ids=ids.to(model.device), use_cache=False)
        rows.append({"repeat": repeat, "scoring_seconds": scored, "forward_seconds": time.perf_counter() - began})
    ratio = statistics.median(r["scoring_seconds"] for r in rows) / statistics.median(
        r["forward_seconds"] for r in rows
    )
    tokens = sum(ids.shape[1] for ids in inputs)
    write_result("verifier_scoring", summary={"scoring_over_forward": ratio, "tokens": tokens}, rows=rows, seed=0)
    if ratio > LIMIT:
        raise SystemExit(f"scoring costs {ratio:.2f} of a forward pass, at most {LIMIT} is wanted")


if __name__ == "__main__":
    main()
