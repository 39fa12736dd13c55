"""Training both heads, in full and as adapters: learns, calibrates, resumes; scores equal an independent forward."""

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from copilot.data.trajectory import Trajectory
from copilot.data.transcript import transcript
from copilot.errors import DataError, ModelError
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.verifier import make_scorer, read_info
from copilot.verifier.best_of import best_of
from copilot.verifier.discrimination import auc
from copilot.verifier.splits import check_unseen
from copilot.verifier.training import VerifierTrainer

RunVerifier = Callable[..., dict[str, Any]]
Episodes = Callable[..., list[Trajectory]]
ENGINE = TransformersConfig(dtype="float32", max_batch=4)


def score(weights: str, trajectories: list[Trajectory], folder: Path) -> list[float]:
    async def run() -> list[float]:
        scorer = make_scorer(weights, ENGINE, log_folder=folder)
        await scorer.start()
        try:
            return await scorer.score(trajectories)
        finally:
            await scorer.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("head", "method"), [("yes_no", "lora"), ("yes_no", "full"), ("scalar", "lora"), ("scalar", "full")]
)
def test_it_learns_to_tell_right_from_wrong(
    run_verifier: RunVerifier, episodes: Episodes, tmp_path: Path, head: str, method: str
) -> None:
    rate = 1e-2 if method == "lora" else 3e-3
    found = run_verifier(verifier={"head": head}, method=method, learning_rate=rate)
    assert sum(r["loss"] for r in found["losses"][-5:]) < 0.5 * sum(r["loss"] for r in found["losses"][:5])
    info = read_info(found["weights"])
    assert (info.head, info.calibration.fitted_on) == (head, 18)
    new = episodes(6, 4, first=100)
    scores = score(found["weights"], new, tmp_path)
    assert all(0 < value < 1 for value in scores)
    assert auc(scores, [t.success("submitted") for t in new]) > 0.95


def test_scores_are_the_softmax_over_the_two_logits(
    run_verifier: RunVerifier, episodes: Episodes, tmp_path: Path, tiny: Path
) -> None:
    found = run_verifier(max_steps=3)
    info, new = read_info(found["weights"]), episodes(3, 3, first=70)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), found["weights"]).eval()

    async def raw() -> tuple[list[float], list[list[int]]]:
        scorer = make_scorer(found["weights"], ENGINE, log_folder=tmp_path)
        await scorer.start()
        return await scorer.logits(new), [scorer.encoder.encode(transcript(t)).ids for t in new]

    logits, inputs = asyncio.run(raw())
    for z, ids in zip(logits, inputs, strict=True):
        with torch.no_grad():
            two = model(input_ids=torch.tensor([ids])).logits[0, -1, [info.yes_id, info.no_id]]
        assert 1 / (1 + math.exp(-z)) == pytest.approx(float(two.softmax(0)[0]), abs=1e-5)
    expected = info.calibration.scores(logits)
    assert score(found["weights"], new, tmp_path) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("head", ["yes_no", "scalar"])
def test_a_broken_run_goes_on_with_the_same_losses(
    run_verifier: RunVerifier, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    settings = {"verifier": {"head": head}, "max_steps": 6, "save_every_steps": 2}
    calm = run_verifier(folder="calm", **settings)["losses"]
    whole, calls = VerifierTrainer.compute_loss, []

    def breaking(self: VerifierTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 10:  # in the fifth step: a step is two micro-batches
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(VerifierTrainer, "compute_loss", breaking)
    with pytest.raises(KeyboardInterrupt):
        run_verifier(folder="broken", **settings)
    monkeypatch.setattr(VerifierTrainer, "compute_loss", whole)
    resumed = run_verifier(folder="broken", **settings)["losses"]
    assert [r["step"] for r in resumed] == [1, 2, 3, 4, 5, 6]
    assert [r["loss"] for r in resumed] == pytest.approx([r["loss"] for r in calm], abs=1e-5)


def test_rows_weigh_as_many_as_the_attempts_they_stand_for(
    run_verifier: RunVerifier, episode: Callable[..., Trajectory]
) -> None:
    """All attempts in one step: as it would be with a row for every copy."""

    def tried(task: int) -> list[Trajectory]:
        right = [episode(task, i, right=True) for i in (0, 0, 0, 1)]
        attempts = [*right, *(episode(task, i, right=False) for i in (2, 2, 3, 4))]
        return [t.evolve(attempt=i) for i, t in enumerate(attempts)]

    of = {"train": [*tried(1), *tried(2)], "validation": [*tried(50), *tried(51)]}
    found = {
        merged: run_verifier(folder=f"{merged}", merged=merged, batch_size=rows, micro_batch_size=rows, epochs=1, **of)
        for merged, rows in ((True, 10), (False, 16))
    }
    assert (found[True]["rows"], found[False]["rows"]) == (10, 16)
    assert found[True]["attempts"] == found[False]["attempts"] == 16
    losses = {merged: [r["loss"] for r in each["losses"]] for merged, each in found.items()}
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
    assert len(losses[True]) == 1
    fits = {merged: read_info(each["weights"]).calibration for merged, each in found.items()}
    assert fits[True].fitted_on == fits[False].fitted_on == 16
    assert fits[True].shift == pytest.approx(fits[False].shift, abs=1e-3)


def test_validation_tasks_must_be_others(run_verifier: RunVerifier, episodes: Episodes) -> None:
    with pytest.raises(DataError, match="2 of 4 validation tasks are trained on"):
        run_verifier(train=episodes(4, 6), validation=episodes(4, 3, first=2))


def test_tasks_it_was_trained_or_calibrated_on_are_refused(run_verifier: RunVerifier) -> None:
    info = read_info(run_verifier(max_steps=1)["weights"])
    check_unseen(info, ["demo/900"])
    for known in ("demo/0", "demo/50"):
        with pytest.raises(DataError, match="trained or calibrated on 1 of 2 tasks"):
            check_unseen(info, ["demo/900", known])


def test_one_sided_validation_is_refused_with_counts(run_verifier: RunVerifier, episode: Any) -> None:
    wrong = [episode(f"v{i}", 0, right=False) for i in range(3)]
    with pytest.raises(DataError, match="0 right of 3 validation attempts"):
        run_verifier(max_steps=1, validation=wrong)


def test_validation_that_cannot_be_read_ends_it_before_the_training(
    run_verifier: RunVerifier, episode: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="1 of 2 trajectories do not fit 256 tokens"):
        run_verifier(validation=[episode("x " * 400, 0, right=True), episode("y", 0, right=False)])
    assert not (tmp_path / "v" / "stage" / "losses.jsonl").exists()
    assert not (tmp_path / "v" / "stage" / "weights").exists()


def test_bad_trajectories_are_refused_with_counts(
    run_verifier: RunVerifier, episode: Any, episodes: Episodes, tmp_path: Path
) -> None:
    weights = run_verifier(max_steps=1)["weights"]
    broken = [*episodes(1, 2), episode("x", 0, right=False, failed=True)]
    with pytest.raises(DataError, match="1 of 3 trajectories were broken"):
        score(weights, broken, tmp_path)
    huge = episode("ward " * 400, 0, right=True)
    with pytest.raises(DataError, match="1 of 2 trajectories do not fit 256 tokens"):
        score(weights, [huge, episode("x", 0, right=True)], tmp_path)
    with pytest.raises(ModelError, match="not a verifier"):
        make_scorer(tmp_path, ENGINE, log_folder=tmp_path)


def test_what_vllm_cannot_score_is_refused(run_verifier: RunVerifier, tmp_path: Path) -> None:
    scalar = run_verifier(folder="s", max_steps=1, verifier={"head": "scalar"})["weights"]
    with pytest.raises(ModelError, match="yes_no head only"):
        make_scorer(scalar, VllmConfig(), log_folder=tmp_path)
    plain = run_verifier(folder="p", max_steps=1)["weights"]
    with pytest.raises(ModelError, match="context of 256 tokens is no longer"):
        make_scorer(plain, VllmConfig(max_model_len=256), log_folder=tmp_path)


def test_early_turns_are_cut_and_counted(run_verifier: RunVerifier, episode: Any, tmp_path: Path) -> None:
    weights = run_verifier(max_steps=1)["weights"]

    async def run() -> tuple[int, list[float]]:
        scorer = make_scorer(weights, ENGINE, log_folder=tmp_path)
        await scorer.start()
        scores = await scorer.score([episode("x", 0, right=True, turns=30), episode("x", 1, right=True)])
        return scorer.cut, scores

    cut, scores = asyncio.run(run())
    assert cut == 1
    assert len(scores) == 2


def test_copies_of_an_attempt_are_read_once_and_score_alike(
    run_verifier: RunVerifier, episode: Any, tmp_path: Path
) -> None:
    weights = run_verifier(max_steps=1)["weights"]
    one, other = episode("x", 0, right=True), episode("x", 1, right=False)

    async def run(trajectories: list[Trajectory]) -> tuple[int, list[float]]:
        scorer = make_scorer(weights, ENGINE, log_folder=tmp_path)
        await scorer.start()
        logits = await scorer.logits(trajectories)
        return scorer.tokens, logits

    tokens, apart = asyncio.run(run([one, other]))
    again, together = asyncio.run(run([one, other, one.model_copy(update={"attempt": 2}), other]))
    assert again == tokens
    assert together == [*apart, *apart]
    assert apart[0] != apart[1]


def test_the_folder_says_what_the_verifier_is(run_verifier: RunVerifier, tiny: Path) -> None:
    found = run_verifier(max_steps=1)
    raw = json.loads((Path(found["weights"]) / "verifier.json").read_text())
    assert raw["base"] == str(tiny)
    assert raw["max_tokens"] == 256
    assert "demo/0" not in json.dumps(raw)
    counts = {name: found[name] for name in ("rows", "right", "cut")}
    assert counts == {"rows": 32, "right": 16, "cut": 0}


def test_best_of_k_takes_the_highest_score_and_leaves_broken_attempts_out(
    run_verifier: RunVerifier, episode: Any
) -> None:
    weights = run_verifier()["weights"]
    attempts = [
        episode("new", 0, right=False, failed=True),
        episode("new", 1, right=False),
        episode("new", 2, right=True),
        episode("new", 3, right=False),
    ]
    chosen, score = asyncio.run(best_of(attempts, weights))
    assert chosen.attempt == 2
    assert score is not None
    assert 0.5 < score < 1
    chosen, score = asyncio.run(best_of(attempts))
    assert (chosen.attempt, score) == (1, None)
    with pytest.raises(DataError, match="broke all 2 attempts"):
        asyncio.run(best_of([attempts[0]] * 2))


def test_gradient_checkpointing_changes_nothing(run_verifier: RunVerifier) -> None:
    plain, saving = (
        run_verifier(folder=name, max_steps=4, gradient_checkpointing=name == "saving")["losses"]
        for name in ("plain", "saving")
    )
    assert [r["loss"] for r in saving] == pytest.approx([r["loss"] for r in plain], abs=1e-5)
