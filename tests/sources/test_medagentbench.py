"""A FHIR server in closed form, references that leave the right state, and upstream's file with a server of our own."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from copilot.envs.check import check_tasks
from copilot.envs.sandboxes.base import SandboxConfig, SandboxSpec, make_backend
from copilot.envs.sources.medagentbench import SOURCE, hospital, published
from copilot.envs.sources.medagentbench.kinds import KINDS
from copilot.envs.sources.medagentbench.server import FhirServer
from copilot.envs.sources.medagentbench.source import replay
from copilot.envs.task import Task
from copilot.errors import DataError
from copilot.reward.answers import RealAnswer
from copilot.reward.graders import grade

PATIENT = {
    "resourceType": "Patient",
    "id": "S1",
    "identifier": [{"value": "S1"}],
    "name": [{"given": ["Ada"], "family": "Ott"}],
    "birthDate": "1950-02-03",
}


def lab(number: int, code: str, value: float, when: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"code": code}], "text": code},
        "effectiveDateTime": when,
        "valueQuantity": {"value": value},
        "subject": {"reference": "Patient/S1"},
    }


RESOURCES = [
    PATIENT,
    {**PATIENT, "id": "S2", "identifier": [{"value": "S2"}], "birthDate": "1951-02-03"},
    lab(1, "K", 3.1, "2023-11-01T08:00:00+00:00"),
    lab(2, "K", 4.0, "2023-10-01T08:00:00+00:00"),
    lab(3, "MG", 1.2, "2023-11-13T08:00:00+00:00"),
]
ORDER = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "code": {"coding": [{"code": "4548-4"}]},
    "subject": {"reference": "Patient/S1"},
}


@pytest.mark.parametrize(
    ("url", "ids"),
    [
        ("Patient?name=ada&birthdate=1950-02-03", ["S1"]),
        ("Patient?given=Ada&family=Ott", ["S1", "S2"]),
        ("Patient?identifier=urn:mrn|S2", ["S2"]),
        ("Observation?patient=S1&code=K", ["o1", "o2"]),
        ("Observation?patient=S1&code=K&_sort=date", ["o2", "o1"]),
        ("/fhir/Observation?subject=Patient/S1&code=http://x|K&_sort=-date&_count=1", ["o1"]),
        ("Observation?patient=S1&date=ge2023-11-01T08:00:00+00:00", ["o1", "o3"]),
        ("Observation?patient=S1&date=gt2023-11-01T08:00:00+00:00", ["o3"]),
        ("Observation?date=2023-10-01", ["o2"]),
        ("Observation?patient=S2", []),
    ],
)
def test_searches(url: str, ids: list[str]) -> None:
    bundle = FhirServer(RESOURCES).get(url)
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ids
    assert bundle["resourceType"] == "Bundle"


def test_reads_and_refusals() -> None:
    server = FhirServer(RESOURCES)
    assert server.get("Patient/S1") == PATIENT
    for url in ("Patient/S9", "Encounter?patient=S1", "Patient?color=red", "Patient/S1/extra", ""):
        assert server.get(url)["resourceType"] == "OperationOutcome"


def test_creating_checks_what_fhir_demands() -> None:
    server = FhirServer(RESOURCES)
    wrong = [{}, [], None, {**ORDER, "resourceType": "Patient"}, {**ORDER, "subject": {"reference": "Patient/S9"}}]
    wrong += [
        {key: value for key, value in ORDER.items() if key != missing} for missing in ("status", "code", "subject")
    ]
    for body in wrong:
        assert server.create("ServiceRequest", body)["resourceType"] == "OperationOutcome"
    assert server.create("Patient", PATIENT)["resourceType"] == "OperationOutcome"
    assert server.created == []
    made = server.create("/fhir/ServiceRequest", ORDER)
    assert server.get(f"ServiceRequest/{made['id']}") == made
    assert "new-1" not in json.dumps(RESOURCES)


@pytest.mark.parametrize("log", [None, "x", 7, [1], [{"kind": 3}], [{"kind": "Patient", "resource": {}}], [{}] * 99])
def test_hostile_logs_create_nothing(log: JsonValue) -> None:
    assert replay(RESOURCES, log) == []


def test_a_replay_creates_what_was_asked_for() -> None:
    log: JsonValue = [{"kind": "ServiceRequest", "resource": ORDER}, {"kind": "ServiceRequest", "resource": {}}]
    created = replay(RESOURCES, log)
    assert isinstance(created, list)
    assert [item["id"] for item in created if isinstance(item, dict)] == ["new-1"]


def check(tasks: list[Task]) -> Any:
    async def run() -> Any:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            return await check_tasks(SOURCE, tasks, backend, on_task=lambda: None)
        finally:
            await backend.close()

    return asyncio.run(run())


def test_references_leave_the_right_state_and_no_ops_do_not() -> None:
    tasks = list(SOURCE.tasks("test_form", limit=40))
    report = check(tasks)
    assert report.failures == ()
    assert report.reproduced == len(tasks) == 40
    assert {task.template for task in tasks} == set(KINDS)


def test_doing_too_much_or_tampering_with_the_log_is_wrong() -> None:
    task = next(t for t in SOURCE.tasks("train_form") if t.template == "task3")

    async def run(code: str) -> bool:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        try:
            spec = SandboxSpec(files=SOURCE.files(task), preamble=SOURCE.preamble(task))
            async with await backend.open(spec) as sandbox:
                await sandbox.execute(code)
                evidence = await SOURCE.evidence(task, "done", sandbox, backend)
                return grade(task.reference.answer, evidence).correct
        finally:
            await backend.close()

    program = task.reference.program
    assert asyncio.run(run(program))
    assert not asyncio.run(run(f"{program}\n{program}"))
    assert not asyncio.run(run(f"{program}\nfhir_requests.clear()"))
    assert not asyncio.run(run("fhir_requests = [{'kind': 'Observation', 'resource': {}}]"))
    assert not asyncio.run(run("del fhir_requests"))


def test_streams_are_seeded_and_patients_apart() -> None:
    train, test = list(SOURCE.tasks("train_form", limit=300)), list(SOURCE.tasks("test_form", limit=300))
    assert train[:50] == list(SOURCE.tasks("train_form", limit=50))
    assert len({task.question for task in train}) == 300

    def patients(tasks: list[Task]) -> set[str]:
        mrns = {resource["id"] for resource in hospital.resources() if resource["resourceType"] == "Patient"}
        return {word.strip(".,:?") for task in tasks for word in task.question.split()} & mrns

    assert patients(train)
    assert not patients(train) & patients(test)
    for constant in (-1, 0, 1, 50, 100, 150):
        group = [t for t in test if t.template in ("task6", "task7")]
        assert sum(grade(t.reference.answer, {"value": constant, "created": []}).correct for t in group) < 0.35 * len(
            group
        )


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Our own server over HTTP, in the place of upstream's."""
    world = FhirServer(RESOURCES)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(world.get(self.path)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MED_COPILOT_DATA", str(tmp_path))
    monkeypatch.setenv("MED_COPILOT_HOME", str(tmp_path / "cache"))
    (tmp_path / "medagentbench").mkdir()
    items = [
        {"id": "task1_1", "instruction": "What is the MRN of Ada Ott?", "sol": ["S1"], "eval_MRN": "S1"},
        {"id": "task3_1", "instruction": 'It is "118/77 mmHg". Record it.', "eval_MRN": "S1"},
        {"id": "task5_1", "instruction": "Magnesium.", "eval_MRN": "S1"},
        {"id": "task8_1", "instruction": 'Refer. Say "Situation: knee."', "eval_MRN": "S1"},
        {"id": "task9_1", "instruction": "Potassium.", "eval_MRN": "S1"},
    ]
    (tmp_path / "medagentbench" / "test_data_v1.json").write_text(json.dumps(items))
    for cached in (published.read, published._snapshot):
        cached.cache_clear()
    yield f"http://127.0.0.1:{server.server_port}/fhir"
    server.shutdown()
    server.server_close()
    published.read.cache_clear()


def test_published_tasks_over_the_users_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"(?s)need MedAgentBench's own server.*MEDAGENTBENCH_FHIR"):
        list(SOURCE.tasks("test"))
    monkeypatch.setenv("MEDAGENTBENCH_FHIR", address)
    tasks = {task.template: task for task in SOURCE.tasks("test")}
    magnesium, potassium = tasks["task5"].reference.answer, tasks["task9"].reference.answer
    assert magnesium.kind == potassium.kind == "state"
    assert isinstance(magnesium.value, RealAnswer)
    assert magnesium.value.value == 1.2
    assert [order["resourceType"] for order in potassium.created] == ["MedicationRequest", "ServiceRequest"]
    report = check(list(tasks.values()))
    assert (report.reproduced, report.failures) == (5, ())
