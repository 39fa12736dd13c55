"""A small FHIR R4 server: search, read and create over resources in memory; standard library alone.

Decision: a sandbox has no network, so this text is also what runs inside it (as the episode's preamble), over a file of
resources. It logs the requests that create something. What counts is not that server's state but a replay of the log
against a pristine copy on the host, which applies the same checks and cannot be reached by model code.
"""

import json
import urllib.parse
from typing import Any

Resource = dict[str, Any]

REQUIRED: dict[str, tuple[str, ...]] = {
    "Observation": ("status", "code", "subject"),
    "MedicationRequest": ("status", "intent", "medicationCodeableConcept", "subject"),
    "ServiceRequest": ("status", "intent", "code", "subject"),
    "Condition": ("subject",),
    "Procedure": ("status", "subject"),
}
"""Types that can be created, with the elements that FHIR R4 demands."""
TYPES = ("Patient", *REQUIRED)
"""Types that can be searched and read."""
_DATES = {
    "Observation": "effectiveDateTime",
    "MedicationRequest": "authoredOn",
    "ServiceRequest": "authoredOn",
    "Condition": "recordedDate",
    "Procedure": "performedDateTime",
    "Patient": "birthDate",
}
_PREFIXES = ("eq", "ne", "ge", "le", "gt", "lt")


class FhirServer:
    """Resources by type and id.

    Args:
        resources: What the server starts with; not changed.
    """

    def __init__(self, resources: list[Resource]) -> None:
        self.store: dict[str, dict[str, Resource]] = {kind: {} for kind in TYPES}
        for resource in resources:
            if resource.get("resourceType") in self.store:
                self.store[resource["resourceType"]][resource["id"]] = resource
        self.created: list[Resource] = []

    def get(self, url: str) -> Resource:
        """Search (``Observation?patient=S1&code=K``) or read (``Patient/S1``); an OperationOutcome where it fails."""
        path, _, query = url.strip().partition("?")
        parts = [part for part in urllib.parse.unquote(path).split("/") if part]
        while parts and parts[0] not in TYPES:
            parts = parts[1:]
        if not parts:
            return outcome("not-supported", f"no such resource type; known: {', '.join(TYPES)}")
        if len(parts) == 2 and not query:
            found = self.store[parts[0]].get(parts[1])
            return found or outcome("not-found", f"no {parts[0]} {parts[1]}")
        if len(parts) > 1:
            return outcome("not-supported", "only search and read are supported")
        # a plus sign in a time zone must not become a blank
        parameters = urllib.parse.parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
        return self.search(parts[0], parameters)

    def search(self, kind: str, parameters: list[tuple[str, str]]) -> Resource:
        """A searchset bundle of the resources that fit all parameters."""
        found = list(self.store[kind].values())
        count, order = 1000, ""
        for name, value in parameters:
            base = name.split(":")[0]
            if base == "_count":
                count = int(value) if value.isdigit() else count
            elif base == "_sort":
                order = value
            elif base in ("_format", "_summary"):
                continue
            elif base not in FILTERS:
                return outcome("not-supported", f"unknown search parameter {name}; known: {', '.join(sorted(FILTERS))}")
            else:
                found = [resource for resource in found if FILTERS[base](resource, value)]
        if order.lstrip("-") in ("date", "authored", "_lastUpdated"):
            found.sort(key=lambda r: str(r.get(_DATES[kind], "")), reverse=order.startswith("-"))
        entries = [{"fullUrl": f"{kind}/{resource['id']}", "resource": resource} for resource in found[:count]]
        return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}

    def create(self, kind: str, resource: object) -> Resource:
        """Add a resource; it comes back with its id, or an OperationOutcome says what is wrong with it."""
        kind = kind.strip().split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        if kind not in REQUIRED:
            return outcome("not-supported", f"cannot create {kind}; known: {', '.join(REQUIRED)}")
        if not isinstance(resource, dict) or resource.get("resourceType") != kind:
            return outcome("invalid", f"the body must be an object with resourceType {kind}")
        missing = [name for name in REQUIRED[kind] if not resource.get(name)]
        if missing:
            return outcome("required", f"{kind} lacks {', '.join(missing)}")
        subject = resource["subject"]
        reference = subject.get("reference", "") if isinstance(subject, dict) else ""
        if not isinstance(reference, str) or reference.rsplit("/", 1)[-1] not in self.store["Patient"]:
            return outcome("not-found", "subject.reference must be Patient/ID of a patient who exists")
        made: Resource = json.loads(json.dumps(resource))
        made["id"] = f"new-{len(self.created) + 1}"
        made["subject"] = {**made["subject"], "reference": "Patient/" + reference.rsplit("/", 1)[-1]}
        self.store[kind][made["id"]] = made
        self.created.append(made)
        return made


def outcome(code: str, text: str) -> Resource:
    """An OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": text}]}


def _is_of_patient(resource: Resource, value: str) -> bool:
    reference = str(resource.get("subject", {}).get("reference", ""))
    return reference.rsplit("/", 1)[-1] == value.rsplit("/", 1)[-1]


def _has_code(resource: Resource, value: str) -> bool:
    concept = resource.get("code") or resource.get("medicationCodeableConcept") or {}
    wanted = {part.rsplit("|", 1)[-1].strip() for part in value.split(",")}
    return bool(wanted & {concept.get("text"), *(coding.get("code") for coding in concept.get("coding", []))})


def _has_category(resource: Resource, value: str) -> bool:
    concepts = resource.get("category", [])
    codes = {coding.get("code", "").lower() for concept in concepts for coding in concept.get("coding", [])}
    return value.rsplit("|", 1)[-1].lower() in codes


def _is_on(resource: Resource, value: str) -> bool:
    prefix, moment = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    recorded = str(resource.get(_DATES[resource["resourceType"]], ""))
    size = min(len(recorded), len(moment), 19)
    if not recorded or not size:
        return False
    left, right = recorded[:size], moment[:size]
    tests = {"eq": left == right, "ne": left != right, "ge": left >= right, "le": left <= right}
    return {**tests, "gt": left > right, "lt": left < right}[prefix]


def _is_named(resource: Resource, value: str) -> bool:
    names = [part for name in resource.get("name", []) for part in [*name.get("given", []), name.get("family", "")]]
    return all(any(part.lower().startswith(word.lower()) for part in names) for word in value.split())


def _has_identifier(resource: Resource, value: str) -> bool:
    value = value.rsplit("|", 1)[-1]
    return any(identifier.get("value") == value for identifier in resource.get("identifier", []))


FILTERS = {
    "patient": _is_of_patient,
    "subject": _is_of_patient,
    "code": _has_code,
    "category": _has_category,
    "date": _is_on,
    "authoredon": _is_on,
    "authored": _is_on,
    "birthdate": _is_on,
    "_id": lambda resource, value: resource.get("id") == value,
    "name": _is_named,
    "family": _is_named,
    "given": _is_named,
    "identifier": _has_identifier,
    "gender": lambda resource, value: resource.get("gender") == value,
    "status": lambda resource, value: resource.get("status") in value.split(","),
}
"""Search parameters: whether a resource fits a value."""
