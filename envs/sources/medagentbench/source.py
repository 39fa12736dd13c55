"""The source: ten kinds of tasks in a FHIR record, with answers and the server's final state checked on the host.

``train_form`` and ``test_form`` run on generated patients, who are in one of the two by hash. ``test`` is the published
tasks, for users who run MedAgentBench's own server: what it says of the patients asked about is read once from
``MEDAGENTBENCH_FHIR`` into the cache, and the embedded server answers from there, since a sandbox has no network.
"""

import hashlib
import inspect
import json
import os
import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from copilot.envs import feedback
from copilot.envs.actions import ActionName, ExecuteCode, Submit
from copilot.envs.predictions import bucket
from copilot.envs.sandboxes.base import CellResult, Sandbox, SandboxBackend
from copilot.envs.sources.base import Access, Download, Source
from copilot.envs.sources.medagentbench import hospital, published, server
from copilot.envs.sources.medagentbench.kinds import KINDS, Asked
from copilot.envs.sqlite_files import cache_folder
from copilot.envs.task import Reference, Task, WorkedExample
from copilot.errors import DataError, did_you_mean

SIZES = {"train_form": 1500, "test_form": 300}
"""Default number of look-alike tasks per split."""
_TEST_SHARE = 30
_MAX_REQUESTS = 50
_LOG = "fhir_requests"

_CLIENT = """
with open('/data/fhir.json', encoding='utf-8') as _file:
    _server = FhirServer(json.load(_file))
fhir_requests = []
def fhir_get(url):
    \"\"\"Search ('Observation?patient=S1&code=K&date=ge2023-11-12&_sort=-date') or read ('Patient/S1'); a dict.\"\"\"
    return _server.get(url)
def fhir_post(kind, resource):
    \"\"\"Create a resource of a type; the created resource, or an OperationOutcome that says what is wrong.\"\"\"
    fhir_requests.append({'kind': kind, 'resource': json.loads(json.dumps(resource))})
    return _server.create(kind, resource)
"""
_CONTEXT = (
    "A FHIR R4 server is reached by two functions. fhir_get(url) searches, "
    "fhir_get('Observation?patient=S1&code=K&_sort=-date'),"
    " or reads, fhir_get('Patient/S1'), and returns a dict (a Bundle with `entry`, a resource or an OperationOutcome). "
    "fhir_post(type, resource) creates an Observation, MedicationRequest or ServiceRequest. It is "
    f"{hospital.moment(hospital.NOW)} now; a patient's id is the MRN. What is created has subject.reference "
    f"Patient/MRN; an "
    "Observation has status final and effectiveDateTime now; orders have status active, intent order and authoredOn "
    "now; "
    "codes stand in coding (system, code), doses in dosageInstruction[0].doseAndRate[0].doseQuantity (value, unit) and "
    "dosageInstruction[0].route.text. Create nothing that is not asked for. Set `answer` (to 'done' where nothing is "
    "asked) and "
    "submit it."
)


class MedAgentBench(Source):
    """Questions and orders in a FHIR record."""

    name: ClassVar[str] = "medagentbench"
    title: ClassVar[str] = "MedAgentBench with your server; look-alike on generated patients (_form)"
    licence: ClassVar[str] = "original MIT; look-alike Apache-2.0"
    splits: ClassVar[tuple[str, ...]] = ("test", "train_form", "test_form")
    stateful: ClassVar[bool] = True
    paper_row: ClassVar[str] = "MedAgentBench"
    look_alike: ClassVar[frozenset[str]] = frozenset(SIZES)
    downloads: ClassVar[tuple[Download, ...]] = (
        Download(
            url="https://raw.githubusercontent.com/THUDM/AgentBench/086de7c3645fae7ab1172ab8312faca7dd62c6a5/"
            "data/medagentbench/test_data_v1.json",
            path="medagentbench/test_data_v1.json",
            sha256="b539a3dece8cf2fe0518bbfe76e47dec53e3676755c9bb6d87ff261b2aad856a",
            licence="MIT",
        ),
    )
    access: ClassVar[tuple[Access, ...]] = (
        Access(
            name="MedAgentBench",
            apply="https://github.com/stanfordmlgroup/MedAgentBench: open (MIT); run its server, a container of 4 GB",
            put="the server's address in MEDAGENTBENCH_FHIR, and medagentbench/test_data_v2.json if it is to come "
            "before version 1",
        ),
    )

    def tasks(self, split: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
        """The published tasks in order, or a seeded stream over the ten kinds."""
        if split not in self.splits:
            raise DataError(f"no split {split!r} in medagentbench", remedy=did_you_mean(split, self.splits))
        if split == "test":
            items, resources = published.read(), published.snapshot()
            asked = ((item.key, item.kind, published.ask(item, resources)) for item in items)
            return islice((_task("test", key, kind, question) for key, kind, question in asked), limit)
        return islice(_stream(split, seed), SIZES[split] if limit is None else limit)

    def files(self, task: Task) -> dict[str, Path]:
        """The resources the server starts with."""
        return {"fhir.json": published.snapshot_file() if task.split == "test" else _hospital_file()}

    def preamble(self, task: Task) -> str:
        """The server and its two functions."""
        return inspect.getsource(server) + _CLIENT

    async def evidence(self, task: Task, submitted: JsonValue, sandbox: Sandbox, backend: SandboxBackend) -> JsonValue:
        """The submitted value, and what a replay of the requests adds to a pristine server."""
        try:
            log = await sandbox.value(_LOG)
        except (KeyError, ValueError):  # the policy's doing: nothing was asked for
            log = []
        resources = published.snapshot() if task.split == "test" else list(_hospital())
        return {"value": submitted, "created": replay(resources, log)}

    def worked_example(self) -> WorkedExample:
        """A count of conditions, which no kind asks for."""
        patient = hospital.resources()[0]["id"]
        count = server.FhirServer(list(_hospital())).get(f"Condition?patient={patient}")["total"]
        code = f"answer = fhir_get('Condition?patient={patient}')['total']"
        return WorkedExample(
            question=f"{_CONTEXT}\n\nHow many conditions does patient {patient} have on record?",
            steps=(
                (ExecuteCode(code=code), feedback.of_cell(CellResult(status="ok"), answer=(count,)).text),
                (Submit(variable="answer"), ""),
            ),
        )


def replay(resources: list[hospital.Resource], log: JsonValue) -> JsonValue:
    """What the logged requests create on a pristine server; refused ones create nothing."""
    world = server.FhirServer(resources)
    for request in log[:_MAX_REQUESTS] if isinstance(log, list) else []:
        if isinstance(request, dict) and isinstance(request.get("kind"), str):
            world.create(str(request["kind"]), request.get("resource"))
    created: list[JsonValue] = list(world.created)
    return created


@lru_cache(maxsize=1)
def _hospital() -> tuple[hospital.Resource, ...]:
    return tuple(hospital.resources())


@lru_cache(maxsize=1)
def _hospital_file() -> Path:
    text = json.dumps(_hospital())
    target = cache_folder() / "data" / "medagentbench" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, target)
    return target


def _stream(split: str, seed: int) -> Iterator[Task]:
    rng = random.Random(f"medagentbench/{split}/{seed}")
    record: dict[str, list[hospital.Resource]] = {}
    for resource in _hospital():
        owner = resource.get("subject", {}).get("reference", f"Patient/{resource['id']}").rsplit("/", 1)[-1]
        record.setdefault(owner, []).append(resource)
    own = [
        items
        for mrn, items in record.items()
        if (bucket(mrn, "medagentbench", 100) < _TEST_SHARE) == (split == "test_form")
    ]
    seen: set[str] = set()
    fruitless = 0
    while fruitless < 200:
        for kind in rng.sample(list(KINDS), len(KINDS)):
            items = rng.choice(own)
            asked = KINDS[kind](items[0], items, rng)
            fruitless = fruitless + 1 if asked.question in seen else 0
            if asked.question not in seen:
                seen.add(asked.question)
                yield _task(split, hashlib.sha256(asked.question.encode()).hexdigest()[:12], kind, asked)


def _task(split: str, key: str, kind: str, asked: Asked) -> Task:
    return Task(
        id=f"medagentbench/{split}/{kind}-{key}",
        source="medagentbench",
        split=split,
        question=asked.question,
        context=_CONTEXT,
        template=kind,
        category=kind,
        permitted=(ActionName.EXECUTE_CODE, ActionName.TERMINAL, ActionName.DEBUG, ActionName.SUBMIT),
        reference=Reference(answer=asked.answer, program=asked.program),
        metadata={"kind": kind},
    )


SOURCE = MedAgentBench()
