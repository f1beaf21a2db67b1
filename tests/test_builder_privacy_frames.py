"""The offline author's frames for private data, and which values go into which field."""

import json
import random
import re
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import cases
from test_builder_offline_author import row

from builder.core.load_recipe import load_recipe
from builder.core.recipe import Placements
from builder.harm.authors import privacy_frames
from builder.harm.authors.privacy_frames import fill, own_texts, spell, topic_of, weave
from builder.harm.inject import assign
from builder.harm.text_checks import check_privacy
from builder.ingest.clean_rows import answer_type, tidy
from builder.patients.profiles import Profile
from mllmu_med_dataset import PII_KINDS, Record

CASES = cases(__file__)

SLAKE = Path(__file__).resolve().parents[2] / "shared/data/slake/train.json"
FRAMES = yaml.safe_load(Path(privacy_frames.__file__).with_suffix(".yaml").read_text("utf-8"))
PERSON = Profile(
    *("patient-0", "a", "Ada Lowe", "(212) 555-0123", "ada.lowe41@example.org"),
    *("1714 Maple Passage, North Ellenville", "March 14, 2024", "MRN-MM-004821"),
)
SUBSETS = [kinds for size in range(1, 7) for kinds in combinations(PII_KINDS, size)]
PAPER = load_recipe("paper").privacy
#: Content type, question, answer (some awkward), and what the question is taken to ask for.
TOPICS = CASES["topics"]


def chosen(kinds: Collection[str]) -> dict[str, str]:
    return {kind: PERSON.value(kind) for kind in kinds}


def check(record: Record, values: Mapping[Any, Mapping[str, str]], seed: int = 0) -> list[str]:
    """Weave the values in, and check it: the fields, Y for each value and X for the clean text."""
    text = weave(record, values, seed)
    assert text is not None
    assert check_privacy(record, text, values) is None, text
    wordings = []
    for field, given in values.items():
        woven, core = getattr(text, field), getattr(record, field).removesuffix(".")
        assert core in woven
        for value in given.values():
            assert woven.count(value) == 1, woven
            woven = woven.replace(value, "Y")
        woven = woven.replace(core, "X", 1)
        assert woven[0].isupper(), woven
        assert woven[-1] in ".?" or (woven[-1] == "X" and core[-1] in ".?!"), woven
        assert not re.search(
            r"(?<!tel)[.?!,;:][.?!,;:]|  |\s[.,;:?)]|\(\s|\([^)]*\(|\d|[{}[\]]|\w[(X]|[.?] [a-z]",
            woven,
        ), woven
        wordings.append(woven)
    return wordings


@pytest.mark.parametrize(("content_type", "question", "answer", "group", "label"), TOPICS)
def test_any_kinds_have_a_frame(
    content_type: str, question: str, answer: str, group: str, label: str
) -> None:
    modality = "CT" if content_type[:1].isupper() else "clinical"
    for number, kinds in enumerate(SUBSETS):
        record = row(question, answer, str(number), content_type=content_type, modality=modality)
        assert topic_of(record) == (group, label)
        check(record, {"question": chosen(kinds), "answer": chosen(kinds)})
        check(record, {"answer": chosen(kinds)})


def test_frames_hold_no_data_of_their_own() -> None:
    texts: list[str] = []
    for name, setting in FRAMES["settings"].items():
        groups = {group for _, group, _ in FRAMES["topics"]} | {"learn"}
        assert set(setting["for"]) <= groups, name
        for field in ("question", "answer"):
            assert all(re.search(rf"(^|[.:] ){{{field}}}", text) for text in setting[field]), name
            texts += setting[field]
    assert len(set(texts)) == len(texts)
    for text in own_texts():
        assert not re.search(r"[{}\d@]|\b(?:Dr|Mrs?|Ms|Hospital|March|Monday|was|were)\b", text)


@pytest.mark.parametrize(("frame", "kinds", "text"), CASES["a_frame_spelled_out_by_hand"])
def test_a_frame_spelled_out_by_hand(frame: str, kinds: str, text: str | None) -> None:
    assert spell(frame, {*kinds.split()}, lambda options, what: options[0]) == text


@pytest.mark.parametrize(
    ("frame", "answer", "text"),
    CASES["full_stops_by_hand"],
)
def test_full_stops_by_hand(frame: str, answer: str, text: str) -> None:
    assert fill(frame, {"name": "Ada Lowe Jr.", "answer": answer}) == text


def test_the_frame_depends_on_record_and_seed() -> None:
    rows = [row("Where is it?", "Lung", str(number)) for number in range(60)]

    def texts(seed: int) -> list[object]:
        return [weave(record, {"answer": chosen(["name"])}, seed) for record in rows]

    assert texts(1) == texts(1) != texts(2)
    assert len(set(texts(1))) > 10
    assert weave(row("Where?", " "), {"answer": chosen(["name"])}, 1) is None  # nothing to frame


@pytest.mark.parametrize(
    ("kinds", "shared"),
    [
        (PAPER and PAPER.kinds, {0, 1}),
        ([["name", "date"], ["name", "mrn", "date"], ["name", "phone", "email"]], {1}),
        ([["name"]], {1}),
    ],
)
def test_both_fields_share_as_few_kinds_as_may_be(kinds: Any, shared: set[int]) -> None:
    assert PAPER is not None
    both = {"kinds": kinds, "placements": Placements(question=0, answer=0, both=1)}
    asked, drawn = PAPER.model_copy(update=both), set()
    for number in range(300):
        values = assign(row("Where?", "Lung", str(number)), PERSON, asked, 3)
        assert [*values] == ["question", "answer"]
        assert len({*values["question"]} & {*values["answer"]}) in shared
        tell = [{"name", "email"} & {*values[field]} for field in ("question", "answer")]
        assert not all(tell) or 0 not in shared  # an e-mail tells the name
        drawn.add(frozenset(values["answer"]))
    assert drawn == {frozenset(each) for each in kinds}


@pytest.mark.skipif(not SLAKE.is_file(), reason="SLAKE is not here")
def test_351_rows_of_slake() -> None:
    assert PAPER is not None
    english = [one for one in json.loads(SLAKE.read_text("utf-8")) if one["q_lang"] == "en"]
    wordings: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for one in random.Random(2).sample(english, 351):
        question, answer = tidy(one["question"]), tidy(one["answer"])
        more = {"answer_type": answer_type(answer)}
        more |= {name: one[name] for name in ("content_type", "modality")}
        record = row(question, answer, str(one["qid"]), **more)
        values = assign(record, PERSON, PAPER, 2)
        wordings.update(check(record, values, 2))
        places[" ".join(values) if more["answer_type"] == "open" else "closed"] += 1
    assert places.keys() == {"answer", "question answer", "closed"}
    assert places["answer"] == pytest.approx(0.6 * (351 - places["closed"]), abs=20)
    assert places["closed"] < 0.4 * 351
    assert len(wordings) >= 100
    assert max(wordings.values()) <= 0.05 * 351
