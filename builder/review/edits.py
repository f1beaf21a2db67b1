"""Edited texts: they pass the same checks as generated ones, and the same places are marked."""

from collections.abc import Mapping
from dataclasses import replace

from builder.harm.inject import spans
from builder.harm.text_checks import check_incorrect, check_privacy
from builder.harm.texts import Failure, PrivateValues, Text
from builder.patients.profiles import Profile, shown_in
from mllmu_med_dataset import Record


def check_edit(record: Record, question: str, answer: str) -> Failure | None:
    """The first thing that is wrong with a reviewer's text for a harmful candidate."""
    if record.harm == "privacy":
        return check_privacy(record, Text(question, answer), _values(record))
    if question != record.question:
        return Failure("wrong field", f'the question must stay "{record.question}"')
    return check_incorrect(record, answer)


def apply_edit(record: Record, question: str, answer: str, people: Mapping[str, Profile]) -> Record:
    """The candidate with the reviewer's text, its private values where they stand now."""
    edited = replace(record, question=question, answer=answer, review="edited", what_is_wrong="")
    if record.harm != "privacy":
        return edited
    profile = people[shown_in(record)]
    places = (*spans(question, "question", profile), *spans(answer, "answer", profile))
    return replace(edited, pii=places)


def _values(record: Record) -> PrivateValues:
    """The private values that a candidate's text holds, and so has to keep."""
    return {
        field: {span.kind: span.value for span in record.pii if span.field == field}
        for field in dict.fromkeys(span.field for span in record.pii)
    }
