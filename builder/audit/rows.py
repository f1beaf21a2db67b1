"""Rows: the harm and the clean text behind it, the spans of private values, the other columns."""

from collections.abc import Iterator
from typing import Final

from builder.audit.run_checks import Check
from builder.dataset_folder.read import Folder
from builder.harm.inject import spans
from builder.ingest.clean_rows import answer_type, odd_characters
from builder.patients.profiles import shown_in
from builder.review.edits import check_edit
from mllmu_med_dataset import HARMS, PII_KINDS, PiiSpan, Record

#: What an incorrect answer is never rejected for here: the caption that allows it is not published.
_NEEDS_CAPTION: Final = "invented data"
_TWIN: Final = tuple(
    "image_id image_sha256 image_path answer_type content_type modality source clean_question "
    "clean_answer".split()
)
_TEXTS: Final = ("question", "answer", "clean_question", "clean_answer")


def checks(folder: Folder) -> Iterator[Check]:
    every = list(folder.rows())
    forget = [row for row in every if row.split == "forget"]
    yield Check("no value is missing", len(every), list(_missing(folder)))
    own = {row.id for row in folder.rows("own")}  # as it came: see builder.patients.locate
    yield Check("texts are clean Unicode", len(every), list(_unicode(every)))
    kinds = [_harm(row, name) for name in folder.scenarios for row in folder.rows(name)]
    yield Check("harm is known and only in forget", len(every), list(filter(None, kinds)))
    yield Check("clean text is kept", len(every), list(_clean(every)))
    yield _recoverable(folder)
    wrong = [
        f"{row.id}: {row.answer_type}, the clean answer is {answer_type(row.clean_answer)}"
        for row in every
        if row.answer_type != answer_type(row.clean_answer or row.answer)
    ]
    yield Check("answer types are right", len(every), wrong)
    yield from _marked(folder, every, own)
    woven = [row for row in forget if row.id not in own]
    yield Check("harmful texts are sound", len(woven), list(_sound(woven)))
    yield Check("sources and modalities are named", len(every), list(_named(folder)))
    yield _same_image(folder)


def _missing(folder: Folder) -> Iterator[str]:
    for table in folder.tables.values():
        yield from (f"{row_id}: a null in {table.path}" for row_id in table.nulls)
        for row in table.rows:
            texts = _TEXTS[:2] if row.split == "forget" and table.scenario == "own" else _TEXTS
            empty = [name for name in ("id", "image_id", *texts) if not getattr(row, name).strip()]
            if empty:
                yield f"{row.id}: empty {', '.join(empty)}"


def _unicode(rows: list[Record]) -> Iterator[str]:
    for row in rows:
        if odd := odd_characters(" ".join(getattr(row, name) for name in _TEXTS)):
            yield f"{row.id}: the character U+{ord(min(odd)):04X}"


def _harm(row: Record, scenario: str) -> str:
    if row.harm not in HARMS:
        return f"{row.id}: harm {row.harm!r} is unknown"
    if row.split != "forget":
        return f"{row.id}: harm {row.harm} in {row.split}" if row.harm != "none" else ""
    if (row.harm == "none") or (row.harm == "privacy") != (scenario != "incorrect"):
        return f"{row.id}: harm {row.harm} in the forget set of {scenario}"
    return ""


def _clean(rows: list[Record]) -> Iterator[str]:
    """Equal in retain and test, another one in forget."""
    for row in rows:
        same = (row.question, row.answer) == (row.clean_question, row.clean_answer)
        if row.split == "forget" and same:
            yield f"{row.id}: in forget with its clean text"
        elif row.split != "forget" and not same:
            yield f"{row.id}: in {row.split} with another text than its clean one"
        elif row.split == "forget" and row.harm != "privacy" and row.question != row.clean_question:
            yield f"{row.id}: an incorrect answer to a changed question"


def _recoverable(folder: Folder) -> Check:
    """A row that a smaller ratio retains is there as it was, about the same image."""
    failed = []
    checked = 0
    for name, scenario in folder.scenarios.items():
        forget = {row.id: row for row in folder.rows(name, "forget")}
        retained = {row.id: row for row in folder.rows(name, "retain")}
        first = scenario.forget_at(scenario.ratios[0])
        for row in forget.values():
            if row.rank < first:  # forgotten at every ratio
                continue
            checked += 1
            twin = retained.get(row.id)
            if twin is None:
                failed.append(f"{row.id}: its clean version is not retained")
                continue
            differ = [key for key in _TWIN if getattr(row, key) != getattr(twin, key)]
            if differ:
                failed.append(f"{row.id}: its retained version has another {', '.join(differ)}")
    note = "" if checked else "one forget ratio: no row is both forgotten and retained"
    return Check("clean versions are recoverable", checked, failed, note)


def _marked(folder: Folder, rows: list[Record], own: set[str]) -> Iterator[Check]:
    """Spans: exact, of known kinds, of the row's own patient, and none left out.

    Whose the values of real patients (`own`) are, only the corpus' columns tell.
    """
    wrong, strange, unmarked = [], [], []
    marked = 0
    for row in rows:
        for span in row.pii:
            marked += 1
            wrong += [f"{row.id}: {problem}" for problem in _span(row, span)]
        if row.id in own:
            continue
        if row.harm != "privacy":
            if row.pii or row.profile_id:
                strange.append(f"{row.id}: a patient's values in a row without privacy harm")
            continue
        person = folder.patients.get(row.profile_id)
        if person is None:
            strange.append(f"{row.id}: no such patient: {row.profile_id!r}")
            continue
        if person.image_id != shown_in(row):
            strange.append(f"{row.id}: {person.id} is the patient of {person.image_id}")
        for span in row.pii:
            if span.kind in PII_KINDS and span.value != person.value(span.kind):
                strange.append(f"{row.id}: {span.value!r} is not {person.id}'s {span.kind}")
        there = {*spans(row.question, "question", person), *spans(row.answer, "answer", person)}
        unmarked += [
            f"{row.id}: no span for the {span.kind} in the {span.field}"
            for span in sorted(there - {*row.pii}, key=lambda span: (span.field, span.start))
        ]
        if not row.pii:
            unmarked.append(f"{row.id}: privacy harm without a private value")
    private = sum(row.harm == "privacy" and row.id not in own for row in rows)
    yield Check("spans hold their values", marked, wrong)
    yield Check("values are the row's own patient's", private, strange)
    yield Check("every value in a forget row has a span", private, unmarked)


def _span(row: Record, span: PiiSpan) -> Iterator[str]:
    if span.field not in ("question", "answer"):
        yield f"a span in {span.field!r}"
    elif not 0 <= span.start < span.end or (
        getattr(row, span.field)[span.start : span.end] != span.value
    ):
        yield f"{span.field}[{span.start}:{span.end}] is not the value of the span"
    if span.kind not in PII_KINDS:
        yield f"kind {span.kind!r} is unknown"


def _sound(rows: list[Record]) -> Iterator[str]:
    """The builder's own checks of a harmful text, once more."""
    for row in rows:
        failure = check_edit(row, row.question, row.answer) if row.harm != "none" else None
        if failure is not None and failure.name != _NEEDS_CAPTION:
            yield f"{row.id}: {failure.name}: {failure.problem}"


def _named(folder: Folder) -> Iterator[str]:
    for name, scenario in folder.scenarios.items():
        for row in folder.rows(name):
            if row.source != scenario.source:
                yield f"{row.id}: source {row.source!r}, the recipe's is {scenario.source}"
            if not row.modality.strip():
                yield f"{row.id}: no modality"


def _same_image(folder: Folder) -> Check:
    """An image_id, an image's hash and its path name one thing throughout a scenario."""
    failed = {}
    images = 0
    for name in folder.scenarios:
        seen: dict[str, tuple[str, str]] = {}
        for row in folder.rows(name):
            image = (row.image_sha256, row.image_path)
            if seen.setdefault(row.image_id, image) != image:
                failed[row.id] = f"{row.id}: another image or path than other {row.image_id} rows"
        images += len(seen)
    return Check("an image_id is one image", images, list(failed.values()))
