"""The stage `review`: a build waits for people, and the dataset reflects what they decide."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpora import PLAIN, tree
from reviews import Build, decide, edit, make_corpora, reject, run

from builder.audit import failing, run_checks
from builder.core.job import read_job
from builder.core.load_recipe import load_recipe
from builder.core.stage_cache import Chain
from builder.rebuild.stages import plan
from builder.review.merge_decisions import Merged
from builder.review.stage import Open, before, check_enough
from builder.split import bands
from mllmu_med_dataset import Record, UserError


def rows(build: Build, name: str) -> dict[str, dict[str, Any]]:
    columns = ["id", "question", "answer", "harm", "review", "pii", "rank"]
    found = pq.read_table(build.out / name / "forget.parquet", columns=columns).to_pylist()
    return {row["id"]: row for row in found}


def manifest(build: Build) -> dict[str, Any]:
    return json.loads((build.out / "provenance/manifest.json").read_text("utf-8"))


def ran(done: Any) -> list[str]:
    return json.loads(done.stdout)["ran"]


def test_it_waits_and_says_what_to_do(tmp_path: Path) -> None:
    build = Build(make_corpora(tmp_path), tmp_path)
    done = build.rebuild("--set", "privacy.review=false", code=3)
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("waiting: ")]
    assert "error" not in done.stderr
    assert line.startswith("waiting: incorrect: 9 of 9 texts wait for review: `python -m builder ")
    assert f"review export --out {build.out}` writes the page" in line
    assert "--review accept-all" in line
    assert "privacy/split" in done.stderr  # what waits for nobody goes on
    assert not build.out.exists()
    assert build.rebuild("--set", "privacy.review=false", "--until", "split", code=3).stdout == ""
    build.rebuild("--set", "privacy.review=false", "--until", "corrupt")
    # All candidates are written: any may be rejected.
    assert len(build.items("incorrect")) == 9


def test_status_and_dry_run_know_that_it_waits(build: Build) -> None:
    line = "9 of 9 texts wait for review"
    assert line in run("status", "--out", build.out).stdout
    stages = json.loads(run("status", "--out", build.out, "--json").stdout)["stages"]
    assert stages["incorrect/review"]["waits"] == line
    assert line in build.rebuild("--dry-run").stdout
    waits = json.loads(build.rebuild("--dry-run", "--json").stdout)["waits"]
    assert list(waits) == ["privacy/review", "incorrect/review"]
    assert line not in build.rebuild("--dry-run", "--review", "accept-all").stdout
    # Texts that are yet to be written cannot be counted.
    assert line not in build.rebuild("--dry-run", "--set", "seed=7").stdout


def test_accepted_unseen_is_said_everywhere(build: Build) -> None:
    done = build.rebuild("--review", "accept-all")
    assert "accepted unseen (--review accept-all): 9" in done.stdout
    assert {row["review"] for row in rows(build, "incorrect").values()} == {"none"}
    told = {"mode": "accept-all", "reviewers": 0, "items": 9, "accepted": 0, "edited": 0}
    told |= {"rejected": {}, "unseen": 9, "both_decided": 0, "agreement": None, "kappa": None}
    assert manifest(build)["review"]["incorrect"] == told
    assert "accepted unseen" in (build.out / "README.md").read_text("utf-8")
    assert read_job(build.work).accept_all
    assert ran(build.rebuild("--review", "accept-all", "--json")) == []
    # The next one waits again, and what was published stays.
    before = tree(build.out)
    build.rebuild(code=3)
    assert tree(build.out) == before


def test_without_a_review_the_rows_are_the_same(build: Build, tmp_path: Path) -> None:
    """But for `incorrect`, where more texts are written for people to choose from, and what is left
    over of them is not retained."""
    every = ["--set", "incorrect.blend=1"]
    build.rebuild(*every, "--review", "accept-all")
    other = Build(build.corpora, tmp_path / "other")
    other.rebuild(*every, "--set", "incorrect.review=false", "--set", "privacy.review=false")
    assert "review" not in manifest(other)
    assert tree(other.out / "privacy") == tree(build.out / "privacy")
    for name in ("forget", "test"):
        path = f"incorrect/{name}.parquet"
        assert (other.out / path).read_bytes() == (build.out / path).read_bytes()


def test_the_dataset_reflects_what_was_decided(build: Build) -> None:
    items = build.items("incorrect")
    first, second, *others = items
    edited = next(one for one in others if one.answer_type == "open")
    rest = [one for one in others if one != edited]
    text = "The image depicts scabies on the arm."
    build.review(
        "import",
        build.page(
            "Anna Ny",
            reject(first, "implausible", "reveals"),
            edit(edited, text),
            *map(decide, rest),
        ),
        build.page("Zoe Ek", reject(second, note="Zoe's own words"), decide(rest[0])),
    )
    build.accept("privacy", reviewer="Anna Ny")
    build.rebuild()
    assert failing(run_checks.run(build.out)) == ""
    found = rows(build, "incorrect")
    assert len(found) == 4
    assert not {first.id, second.id} & set(found)
    assert found[edited.id]["answer"] == text
    reviews = {key: row["review"] for key, row in found.items()}
    assert reviews == {key: "edited" if key == edited.id else "accepted" for key in found}
    drops = (build.out / "provenance/incorrect-drops.jsonl").read_text("utf-8").splitlines()
    reasons = {row["id"]: row["reason"] for row in map(json.loads, drops)}
    assert reasons[first.id] == "review: rejected (not plausible, reveals itself)"
    told = {"mode": "people", "reviewers": 2, "items": 9, "accepted": 6, "edited": 1, "unseen": 0}
    told |= {"rejected": {"not plausible, reveals itself": 1, "not plausible": 1}}
    told |= {"both_decided": 1, "agreement": 1.0, "kappa": None}
    assert manifest(build)["review"]["incorrect"] == told
    lines = (build.out / "provenance/incorrect-review.jsonl").read_text("utf-8").splitlines()
    decided = {row["id"]: row for row in map(json.loads, lines)}
    assert decided[second.id] == {
        "id": second.id,
        "decision": "rejected",
        "reasons": ["not plausible"],
        "reviewers": [{"reviewer": "r2", "decision": "reject", "settles": False}],
    }
    for name, data in tree(build.out).items():
        for private in (b"Anna Ny", b"Zoe Ek", b"own words"):
            assert private not in data, name
    assert "review    review: edited" in run("show", edited.id, "--out", build.out).stdout
    said = run("show", first.id, "--out", build.out).stdout
    assert "review    dropped: review: rejected (not plausible, reveals itself)" in said


def test_private_values_are_marked_where_an_edit_puts_them(build: Build) -> None:
    items = build.items("privacy")
    first = next(one for one in items if any(v.field == "answer" for v in one.values))
    others = [one for one in items if one != first]
    # One is rejected, so that the edited one is kept for sure.
    build.review(
        "import",
        build.page("a", edit(first, f"Please note: {first.answer}"), *map(decide, others)),
    )
    build.rebuild("--scenario", "privacy", "--until", "review")
    records = Chain(build.work / "privacy").records("review")
    record = next(one for one in records if one.id == first.id)
    assert record.review == "edited"
    assert [span.value for span in record.pii] == [span.value for span in first.values]
    for span in record.pii:
        text = getattr(record, span.field)
        assert text[span.start : span.end] == span.value


def test_a_decision_runs_the_review_and_what_follows(build: Build) -> None:
    build.accept("privacy", "incorrect")
    assert ran(build.rebuild("--json")) == [
        "privacy/review",
        "incorrect/review",
        "privacy/split",
        "incorrect/split",
        "write",
    ]
    assert ran(build.rebuild("--json")) == []
    one = build.items("incorrect")[0]
    build.accept("incorrect")
    assert ran(build.rebuild("--json")) == []
    build.review("import", build.page("anna", reject(one)))
    assert ran(build.rebuild("--json")) == ["incorrect/review", "incorrect/split", "write"]
    assert one.id not in rows(build, "incorrect")


def test_decisions_hold_for_the_text_they_were_about(build: Build) -> None:
    build.accept("privacy", "incorrect")
    build.rebuild()
    decided = {item.id for item in build.items("incorrect")}
    done = build.rebuild("--set", "incorrect.candidates=12", code=3)
    more = {item.id for item in build.items("incorrect")} - decided
    assert f"incorrect: {len(more)} of 12 texts wait for review" in done.stderr
    # Other texts, and back.
    build.rebuild("--set", "privacy.placements={question: 1, answer: 0, both: 0}", code=3)
    status = json.loads(build.review("status", "--json").stdout)["scenarios"]["privacy"]
    assert status["undecided"] > 0
    build.rebuild()


def test_too_many_rejected_is_said_at_once(build: Build) -> None:
    build.accept("privacy")
    *some, _, _, _ = build.items("incorrect")
    saved = build.page("anna", *map(reject, some))
    next_steps = build.review("import", saved).stdout.partition("next:")[2]
    done = build.rebuild(code=1)  # three are undecided: they could not make up for it
    line = done.stderr.splitlines()[-1]
    assert line.startswith(
        "error: incorrect: the recipe keeps 4 harmful rows, and review leaves 3 of 9 candidates (6 "
        "rejected): raise incorrect.candidates, for example --set incorrect.candidates=12 ("
    )
    assert line.removeprefix("error: ") in next_steps


def test_what_reviewers_disagree_about_waits_to_be_settled(build: Build) -> None:
    build.accept("privacy", "incorrect")
    one = build.items("incorrect")[0]
    said = build.review("import", build.page("ben", reject(one, "reveals"))).stdout
    assert f"{one.id}: anna: accept; ben: reject (reveals itself)" in said
    assert "review export --conflicts" in said
    done = build.rebuild(code=3)
    assert "incorrect: reviewers disagree about 1 of 9 texts" in done.stderr
    assert "review export --conflicts --out" in done.stderr
    assert "accept-all" not in done.stderr
    # Somebody has rejected it: that is not accepted unseen.
    build.rebuild("--review", "accept-all", code=3)
    build.review("import", "--settle", build.page("anna", reject(one, "formatting")))
    status = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
    assert (status["conflicts"], status["rejected"]) == ([], 1)
    assert status["rejected_for"] == {"formatting": 1}
    (pair,) = status["pairs"]
    assert (pair["first"], pair["second"], pair["both"], pair["agree"]) == ("anna", "ben", 1, 0)
    build.rebuild("--review", "accept-all")
    told = manifest(build)["review"]["incorrect"]
    assert (told["mode"], told["reviewers"], told["agreement"]) == ("people", 2, 0.0)


def test_status_tells_how_far_it_is(build: Build) -> None:
    first, second, third, *_ = build.items("incorrect")
    build.review(
        "import",
        build.page("anna", decide(first), reject(second), decide(third)),
        build.page("ben", decide(first), reject(second), reject(third)),
    )
    said = build.review("status").stdout
    for part in ("1 ", "rejected as not plausible 1", "67 %", "0.40", f"{third.id}: anna: accept"):
        assert part in said
    told = json.loads(build.review("status", "--json").stdout)
    assert told["scenarios"]["incorrect"]["undecided"] == 6
    assert told["scenarios"]["incorrect"]["agreement"]["kappa"] == pytest.approx(0.4)
    assert [one["decided"] for one in told["scenarios"]["incorrect"]["reviewers"]] == [3, 3]
    assert told["scenarios"]["privacy"]["undecided"] == 8
    assert "review export --conflicts" in " ".join(told["next"])


def test_who_settles_sees_the_edits_and_the_notes(build: Build) -> None:
    one = next(one for one in build.items("incorrect") if one.answer_type == "open")
    first, second = "It is a harmless birthmark.", "It is an old scar."
    build.review("import", build.page("anna", edit(one, first, note="see\nSmith 2019")))
    build.review("import", build.page("ben", edit(one, second)))
    said = build.review("status").stdout
    assert (
        f"{one.id}: anna: edit: answer “It is a harmless birthmark.” (note: see Smith 2019); "
        f"ben: edit: answer “{second}”\n"
    ) in said
    (told,) = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"][
        "conflicts"
    ]
    assert first in told["decisions"]["anna"]


def test_an_edit_that_passes_no_more_is_not_published(build: Build) -> None:
    """Stricter checks, or a hand in the file."""
    build.accept("privacy", "incorrect")
    one = next(one for one in build.items("incorrect") if one.answer_type == "open")
    build.review("import", build.page("anna", edit(one, "The image depicts scabies.")))
    path = build.work / "review" / "incorrect.jsonl"
    path.write_text(path.read_text("utf-8").replace("scabies", "a myth"), "utf-8")
    done = build.rebuild(code=1)
    assert f"the edited text of {one.id} does not pass the check 'gives itself away'" in done.stderr


def test_whole_images_count_where_they_are_cut() -> None:
    """The third row shares the second's picture, at which the smaller forget set ends."""
    sizes = {"forget": 4, "retain": 40, "candidates": 5, "ratios": (5, 10), "split_by": "image"}
    scenario = load_recipe("demo", scenario="incorrect").incorrect.model_copy(update=sizes)
    assert [band.end for band in bands(scenario)] == [2, 4]

    def opened(images: str) -> Open:
        records = {
            str(rank): Record(
                str(rank), p, p, p, "Q", "A", "open", "skin", "s", "Q", "B", rank=rank
            )
            for rank, p in enumerate(images)
        }
        return Open("incorrect", records, [], dict.fromkeys(records, Merged("accept")))

    check_enough(opened("ABBCD"), scenario)
    with pytest.raises(UserError, match=r"leaves 4 \(3 of them, cut at whole images\) of 4"):
        check_enough(opened("ABBC"), scenario)


def test_it_comes_before_the_calibration(build: Build) -> None:
    build.rebuild("--until", "draw", "--set", "calibration={model: tiny}")
    for item in plan(read_job(build.work)):
        names = [stage.name for stage in item.stages]
        assert names[-4:] == [before(item.name), "review", "calibrate", "split"]
        assert item.stages[-4].uses["sifted"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--review", "all"], "--review all: use accept-all"),
        (["--review", "accept-all"], "recipe demo wants no review: add --set privacy.review=true"),
        (["--set", "incorrect.review=maybe"], "incorrect.review: input should be a valid boolean"),
    ],
)
def test_wrong_usage(arguments: list[str], line: str, tmp_path: Path) -> None:
    done = run("rebuild", *PLAIN, "--out", tmp_path / "o", *arguments, code=2)
    assert line in done.stderr
