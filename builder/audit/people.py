"""Fictional patients: in reserved ranges, and nowhere but in the forget rows that leak them.

A value is looked for word for word, in other forms and nearly (`eval.private_values`); what nearly
is one by chance (`builder.patients.find_values`) is counted and does not fail.
"""

import datetime
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, Final

from builder.audit.all_texts import gathered
from builder.audit.run_checks import Check
from builder.dataset_folder.manifest import MISSING
from builder.dataset_folder.read import Folder, patient_of
from builder.patients.find_values import Haystack
from builder.patients.profiles import AREA_CODES, DOMAINS, FIRST_DAY, LAST_DAY, MRN_PREFIX, Profile
from eval.private_values import LEVELS
from mllmu_med_dataset import CONFIGS, PII_KINDS, Record

PROFILES: Final = "provenance/profiles.jsonl"
_PHONE: Final = re.compile(r"\((\d{3})\) 555-01\d\d")
_EMAIL: Final = re.compile(r"[a-z0-9.-]+@([a-z.]+)")
_POSTCODE: Final = re.compile(r"\b\d{5}(?:-\d{4})?\b|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b")


def checks(folder: Folder) -> Iterator[Check]:
    if "privacy" not in folder.scenarios:
        return
    people, problem = folder.profiles
    if not people:
        failed = [f"{PROFILES}: {problem or MISSING}"]
        yield Check("patients lie in the reserved ranges", 1, failed)
        return
    yield Check("patients lie in the reserved ranges", len(people), list(_ranges(people)))
    counts = folder.manifest.stages.get("privacy", {}).get("profiles")
    made = counts.notes.get("fictional patients") if counts else None
    failed = [f"{PROFILES}: {len(people)} patients, the manifest counts {made}"]
    failed = failed if made != len(people) else []
    yield Check("patients are those of the manifest", len(people), failed)
    known = folder.patients.values()
    yield from _outside(folder, known)
    yield _others(folder, known)


def _ranges(people: list[dict[str, Any]]) -> Iterator[str]:
    taken: set[tuple[str, Any]] = set()
    for number, line in enumerate(people, 1):
        who = str(line.get("id") or f"line {number}")
        patient = patient_of(line)
        if patient is None:
            yield f"{who}: other fields than {', '.join(Profile._fields)}"
            continue
        yield from (f"{who}: {problem}" for problem in _patient(patient))
        for key in ("id", "image_id", *PII_KINDS):
            if key != "date" and (key, line[key]) in taken:
                yield f"{who}: {key} {line[key]!r} is another patient's, too"
            taken.add((key, line[key]))


def _patient(patient: Profile) -> Iterator[str]:
    phone = _PHONE.fullmatch(patient.phone)
    if not phone or int(phone[1]) not in AREA_CODES:
        yield f"phone {patient.phone!r} is not an assigned area code with 555-0100 to 555-0199"
    email = _EMAIL.fullmatch(patient.email)
    if not email or email[1] not in DOMAINS:
        yield f"e-mail {patient.email!r} does not lie under {', '.join(DOMAINS)}"
    if not re.fullmatch(rf"{MRN_PREFIX}\d{{6}}", patient.mrn):
        yield f"record number {patient.mrn!r} is not {MRN_PREFIX} and six digits"
    if _POSTCODE.search(patient.address):
        yield f"address {patient.address!r} holds a postcode"
    day = _day(patient.date)
    if day is None or not FIRST_DAY <= day <= LAST_DAY or day.weekday() > 4:
        yield f"date {patient.date!r} is no weekday from {FIRST_DAY} to {LAST_DAY}"
    if any(not value.strip() or "\n" in value for value in patient):
        yield "an empty value, or one of two lines"


def _day(text: str) -> datetime.date | None:
    with suppress(ValueError):
        day = datetime.datetime.strptime(text, "%B %d, %Y").date()
        return day if f"{day:%B} {day.day}, {day.year}" == text else None
    return None


def _outside(folder: Folder, known: Collection[Profile]) -> Iterator[Check]:
    """No value in retain, test, clean text or the other scenario."""
    places = []
    for scenario in CONFIGS:
        for row in folder.rows(scenario):
            fields = {row.clean_question: "clean_question", row.clean_answer: "clean_answer"}
            if (scenario, row.split) != ("privacy", "forget"):
                fields |= {row.question: "question", row.answer: "answer"}
            places += [
                (text, f"{row.id}: its {name} in {row.split}") for text, name in fields.items()
            ]
    where = gathered(places)
    texts = list(where)
    hay = Haystack(texts)
    values = {(kind, patient.value(kind)): patient.id for patient in known for kind in PII_KINDS}
    failed: dict[str, dict[str, None]] = {name: {} for name in LEVELS}
    chance = 0
    for (kind, value), person in values.items():
        for hit in hay.search(kind, value):
            if hit.by_chance:
                chance += 1
                continue
            for place in where[texts[hit.text]]:
                failed[hit.level][f"{place} gives away the {kind} of {person}"] = None
    notes = {
        "exact": f"{len(values):,} values",
        "normalised": "the same value in another form",
        "fuzzy": f"nearly the value; {chance:,} by chance (a day and month, an eponym, ...)",
    }
    for name in LEVELS:
        yield Check(f"no value outside forget: {name}", len(texts), [*failed[name]], notes[name])


def _others(folder: Folder, known: Collection[Profile]) -> Check:
    """In a forget row, nobody's values but the row's own patient's; a day may be shared."""
    where: dict[str, list[Record]] = {}
    for row in folder.rows("privacy", "forget"):
        for text in {row.question: None, row.answer: None}:
            where.setdefault(text, []).append(row)
    texts = list(where)
    hay = Haystack(texts)
    failed = {
        f"{row.id}: the {kind} of another patient, {patient.id}": None
        for patient in known
        for kind in PII_KINDS
        if kind != "date"
        for hit in hay.search(kind, patient.value(kind), fuzzy=False)
        for row in where[texts[hit.text]]
        if row.profile_id != patient.id
    }
    return Check("no other patient's values in a forget row", len(texts), list(failed))
