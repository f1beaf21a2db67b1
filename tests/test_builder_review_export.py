"""The folder for reviewers: who gets what, and that no earlier export is written over."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from corpora import tree
from reviews import Build, decide, reject

from builder.core.job import read_job
from builder.review.export import Team, default_folder, read_team
from builder.review.records import Item
from builder.review.spreadsheet import read_table

CASES = cases(__file__)

TEAM = ["--reviewers", "anna,ben"]


def ids(path: Path) -> list[str]:
    return [row.id for row in read_table(path.read_bytes(), path.name)]


def export(build: Build, *more: str | Path) -> dict[str, Any]:
    return json.loads(build.review("export", "--json", *more).stdout)


def all_ids(build: Build) -> list[str]:
    return [item.id for name in ("privacy", "incorrect") for item in build.items(name)]


def test_one_page_and_table_for_anybody(build: Build) -> None:
    told = export(build)
    folder = Path(told["folder"])
    assert folder == default_folder(build.out)
    names = ["labelstudio.json", "labelstudio.xml", "review.csv", "review.html"]
    assert sorted(told["files"]) == sorted(tree(folder)) == names
    assert set(told["files"].values()) == {17}
    assert ids(folder / "review.csv") == all_ids(build)
    page = (folder / "review.html").read_text("utf-8")
    tasks = json.loads((folder / "labelstudio.json").read_text("utf-8"))
    for item, task in zip([*build.items("privacy"), *build.items("incorrect")], tasks, strict=True):
        assert item.content in page
        assert (task["data"]["sample_id"], task["data"]["content"]) == (item.id, item.content)
        assert task["data"]["picture"].startswith("data:image/")
    assert read_team(build.work) == Team()


def test_a_filled_table_comes_back(build: Build) -> None:
    folder = Path(export(build, *TEAM, "--scenario", "incorrect")["folder"])
    for name in ("anna", "ben"):
        path = folder / f"review-{name}.csv"
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
        column = rows[0].index("decision")
        for row in rows[1:]:
            row[column] = "accept"
        stream = io.StringIO()
        csv.writer(stream).writerows(rows)
        path.write_text(stream.getvalue(), "utf-8")
    build.review("import", *sorted(folder.glob("*.csv")))
    told = json.loads(build.review("status", "--json").stdout)["scenarios"]["incorrect"]
    assert (told["accepted"], told["undecided"], told["agreement"]["share"]) == (9, 0, 1.0)
    progress = told["reviewers"]
    assert [(one["reviewer"], one["decided"] == one["of"]) for one in progress] == [
        ("anna", True),
        ("ben", True),
    ]
    # What was filled in is not written over.
    filled = tree(folder)
    assert export(build, *TEAM, "--all")["folder"] == f"{folder}-2"
    assert tree(folder) == filled


def test_each_text_is_somebodys_and_the_overlap_everybodys(build: Build) -> None:
    folder = Path(export(build, *TEAM, "--overlap", "100%")["folder"])
    assert ids(folder / "review-anna.csv") == ids(folder / "review-ben.csv") == all_ids(build)
    folder = Path(export(build, *TEAM, "--overlap", "0")["folder"])
    anna, ben = (set(ids(folder / f"review-{name}.csv")) for name in ("anna", "ben"))
    assert anna | ben == set(all_ids(build))
    assert not anna & ben
    assert read_team(build.work) == Team(("anna", "ben"), 0.0)


def test_shares_are_even_and_hang_on_the_text_alone() -> None:
    ids = ("", "incorrect", "", "", "", "", "", "Q", "A", "Q", "B", (), 0)
    items = [Item(f"slake/{number}", *ids) for number in range(2000)]
    team = Team(("anna", "ben"), 0.2)
    shares = team.assigned(items)
    assert list(shares.values()).count(("anna", "ben")) == 400
    assert list(shares.values()).count(("anna",)) == pytest.approx(800, abs=60)
    fewer = team.assigned(items[:1000])
    alone = {key: who for key, who in fewer.items() if len(who) == 1}
    assert all(shares[key] == who or len(shares[key]) == 2 for key, who in alone.items())
    # However few: two people have something in common.
    assert sorted(map(len, team.assigned(items[:3]).values())) == [1, 1, 2]


def test_only_what_is_left_is_exported_again(build: Build) -> None:
    first, second, third, *rest = build.items("incorrect")
    build.accept("privacy")
    build.review("import", build.page("anna", decide(first), decide(second), decide(third)))
    build.review("import", build.page("ben", decide(second), reject(third)))
    folder = Path(export(build)["folder"])
    assert ids(folder / "review.csv") == [item.id for item in rest]
    # A person decides about a text once.
    folder = Path(export(build, *TEAM, "--overlap", "100%")["folder"])
    assert ids(folder / "review-anna.csv") == [item.id for item in rest]
    assert ids(folder / "review-ben.csv") == [
        *(item.id for item in build.items("privacy")), first.id, *(item.id for item in rest),
    ]  # fmt: skip
    told = export(build, "--conflicts", "--reviewers", "carl")
    assert ids(Path(told["folder"]) / "review-carl.csv") == [third.id]
    assert read_team(build.work) == Team(("anna", "ben"), 1.0)
    build.review("import", "--settle", build.page("carl", decide(third)))
    assert "disagree about nothing" in build.review("export", "--conflicts", code=1).stderr
    build.accept("incorrect", reviewer="dora")
    assert "nothing is left to decide" in build.review("export", code=1).stderr
    assert export(build, "--all")["texts"] == 17


def test_an_earlier_export_is_not_written_over(build: Build) -> None:
    folder = Path(export(build)["folder"])
    before = tree(folder)
    assert export(build)["folder"] == str(folder)  # the same texts: the same files
    assert tree(folder) == before
    build.accept("privacy")
    assert export(build)["folder"] == f"{folder}-2"
    assert tree(folder) == before
    done = build.review("export", "--to", folder, code=1)
    assert "is of an earlier export" in done.stderr
    assert tree(folder) == before
    assert export(build, "--to", build.folder / "mine")["folder"] == str(build.folder / "mine")


def test_texts_that_are_about_to_change_are_not_exported(build: Build) -> None:
    build.rebuild("--until", "draw", "--set", "incorrect.outdated_share=1")
    assert export(build, "--scenario", "privacy")["texts"] == 8
    done = build.review("export", code=1)
    assert "incorrect: its texts are not up to date" in done.stderr
    assert read_job(build.work).out == build.out


@pytest.mark.parametrize(
    ("arguments", "line"),
    CASES["wrong_usage"],
)
def test_wrong_usage(arguments: list[str], line: str, build: Build) -> None:
    done = build.review("export", *arguments, code=2)
    assert line in done.stderr
    assert not default_folder(build.out).exists()
