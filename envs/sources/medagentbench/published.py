"""The published tasks: upstream's file, and a snapshot of what the user's own server says of the patients asked "
"about."""

import hashlib
import json
import os
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import httpx

from copilot.envs.data_folder import data_root, existing, read_json
from copilot.envs.sources.medagentbench.hospital import Resource
from copilot.envs.sources.medagentbench.kinds import KINDS, NOT_FOUND, Asked, pressure, referral
from copilot.envs.sqlite_files import cache_folder
from copilot.errors import DataError
from copilot.reward.answers import StateAnswer, StringAnswer

FOLDERS = ("medagentbench", "MedAgentBench", "MedAgentBench/data/medagentbench")
"""Names looked for under ``$MED_COPILOT_DATA``."""
ADDRESS = "MEDAGENTBENCH_FHIR"
"""Environment variable with the address of the user's server, such as ``http://localhost:8080/fhir``."""
_FILES = ("test_data_v2.json", "test_data_v1.json")
_SEARCHED = ("Observation", "Condition", "MedicationRequest", "Procedure")


@dataclass(frozen=True)
class Item:
    """One published task."""

    key: str
    kind: str
    instruction: str
    patient: str
    solution: str
    """Upstream's own answer, where the file has one."""


@lru_cache(maxsize=1)
def read() -> tuple[Item, ...]:
    """The published tasks in upstream's order.

    Raises:
        DataError: No file of them is there.
    """
    root = data_root("medagentbench")
    found = [path for folder in FOLDERS for name in _FILES if (path := existing(root / folder / name))]
    if not found:
        raise DataError(
            f"none of {', '.join(_FILES)} is here",
            where=root,
            remedy="med-copilot tasks fetch medagentbench says how to get them; or take test_form",
        )
    return tuple(
        Item(
            key=str(record["id"]).partition("_")[2],
            kind=str(record["id"]).partition("_")[0],
            instruction=str(record["instruction"]),
            patient=str(record.get("eval_MRN", "")),
            solution=str((record.get("sol") or [""])[0]),
        )
        for record in read_json(found[0])
    )


def snapshot_file() -> Path:
    """The snapshot of the user's server; made on first use.

    Raises:
        DataError: No server is named, or it does not answer.
    """
    address = os.environ.get(ADDRESS, "").rstrip("/")
    if not address:
        raise DataError(
            "the published tasks need MedAgentBench's own server",
            remedy=f"run it and set {ADDRESS}=http://localhost:8080/fhir; or take test_form, which needs nothing",
        )
    patients = sorted({item.patient for item in read() if item.patient})
    digest = hashlib.sha256(f"{address}|{patients}".encode()).hexdigest()[:16]
    target = cache_folder() / "data" / "medagentbench" / f"snapshot-{digest}.json"
    if not target.exists():
        found = [resource for patient in patients for resource in _ask_server(address, patient)]
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_text(json.dumps(found))
        os.replace(temporary, target)
    return target


@lru_cache(maxsize=1)
def _snapshot(path: Path) -> list[Resource]:
    found: list[Resource] = json.loads(path.read_text())
    return found


def snapshot() -> list[Resource]:
    """The resources of the snapshot."""
    return _snapshot(snapshot_file())


def _ask_server(address: str, patient: str) -> list[Resource]:
    found = _entries(f"{address}/Patient?identifier={patient}&_count=10")
    for resource in found:
        resource["id"] = patient
    for kind in _SEARCHED:
        rows = _entries(f"{address}/{kind}?patient={patient}&_count=5000")
        found += [{**row, "subject": {"reference": f"Patient/{patient}"}} for row in rows]
    return found


def _entries(url: str) -> list[Resource]:
    try:
        reply = httpx.get(url, timeout=60)
        reply.raise_for_status()
        bundle = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DataError(f"MedAgentBench's server does not answer: {error}", where=url, remedy="start it") from error
    return [entry["resource"] for entry in bundle.get("entry", [])]


def ask(item: Item, resources: list[Resource]) -> Asked:
    """A published task with our check; what is asked of the policy is said in our words, which name all conventions."""
    own = [r for r in resources if r.get("id") == item.patient or _of(r) == item.patient]
    if item.kind == "task1":
        right = item.solution or NOT_FOUND
        return Asked(item.instruction, StateAnswer(value=StringAnswer(value=right)), f"answer = {right!r}")
    if item.kind == "task3":
        reading = re.search(r"\d+/\d+ mmHg", item.instruction)
        return pressure(item.patient, reading.group(0) if reading else "118/77 mmHg")
    if item.kind == "task8":
        quoted = re.search(r"[\"“](.*)[\"”]", item.instruction, re.DOTALL)
        return referral(item.patient, quoted.group(1) if quoted else item.instruction)
    patient = next((r for r in own if r["resourceType"] == "Patient"), None)
    if patient is None or item.kind not in KINDS:
        raise DataError(f"{item.kind}_{item.key}: the server has no patient {item.patient}", remedy="check the server")
    return KINDS[item.kind]({**patient, "id": item.patient}, own, random.Random(item.key))


def _of(resource: Resource) -> str:
    return str(resource.get("subject", {}).get("reference", "")).rsplit("/", 1)[-1]
