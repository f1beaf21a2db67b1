"""The dataset's card, Croissant and manifest."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import card_check
import pytest
import yaml
from card_check import Folder, body, front_matter, reads_well
from card_numbers import COUNTED, counted_by_hand
from corpora import PLAIN, SMALL, builder, make_mm_skin, make_slake, tree
from datasets import load_dataset

from builder.core.recipe import Recipe
from builder.core.stage_cache import read_state
from builder.dataset_folder.card.render import render_card
from builder.dataset_folder.manifest import Manifest, _source, read_manifest
from builder.dataset_folder.read import Facts, read_facts
from builder.dataset_folder.write_card import write_card
from eval.results import COLUMNS, Figure, Report, read_results, to_csv
from mllmu_med.files import file_digest
from mllmu_med_dataset import FEATURES, SPLITS, UserError

#: What the Hub knows of a card's front matter (its documentation of dataset cards).
KNOWN_KEYS = set(
    """annotations_creators configs dataset_info extra_gated_fields extra_gated_prompt language
    language_creators license license_link license_name multilinguality pretty_name
    size_categories source_datasets tags task_categories task_ids""".split()
)


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance/manifest.json").read_text("utf-8"))


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.fixture(scope="module")
def built(demo: Path) -> Path:
    return demo / "mllmu-med"


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both small corpora and what is built of them, one forget ratio."""
    folder = tmp_path_factory.mktemp("corpora")
    make_slake(folder / "SLAKE")
    make_mm_skin(folder / "MM-Skin")
    builder("rebuild", "--slake", "SLAKE", "--mm-skin", "MM-Skin", *SMALL, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def facts(built: Path) -> Facts:
    return read_facts(built)


def test_every_number_is_counted(facts: Facts, built: Path) -> None:
    card = render_card(counted_by_hand(facts))
    assert [line for line in COUNTED.strip().splitlines() if line not in card] == []
    reads_well(card_of(built))


def test_the_card_can_be_rendered_again_from_the_folder(built: Path, tmp_path: Path) -> None:
    again = copied(built, tmp_path / "again")
    assert render_card(read_facts(again)) == card_of(built)
    assert write_card(again, read_manifest(again)) == read_manifest(built)
    assert tree(again) == tree(built)


def test_the_front_matter_is_what_the_hub_knows(built: Path, corpora: Path) -> None:
    from huggingface_hub import DatasetCardData

    for folder in (built, corpora / "mllmu-med"):
        front = front_matter(card_of(folder))
        assert set(front) <= KNOWN_KEYS
        assert not [key for key, value in front.items() if value in (None, "", [])]
        assert not re.search(r"[&*]id\d+", card_of(folder)), "YAML anchors"
        data = DatasetCardData(**front)
        assert yaml.safe_load(data.to_yaml()) == front
        kinds = set(front["extra_gated_fields"].values())
        assert kinds <= {"text", "checkbox", "country", "date_picker"}
    assert front_matter(card_of(built))["license"] == "cc0-1.0"
    front = front_matter(card_of(corpora / "mllmu-med"))
    assert front["license"] == ["cc-by-4.0", "other"]
    assert front["license_link"] == "https://github.com/ZwQ803/MM-Skin"
    assert re.fullmatch(r"[a-z0-9-]+", front["license_name"])


def test_dataset_info_is_right(built: Path, tmp_path: Path) -> None:
    """What `load_dataset` finds by itself, when the card says nothing, is what the card says."""
    card = card_of(built)
    front = front_matter(card)
    bare = copied(built, tmp_path / "bare")
    infos = {info["config_name"]: info for info in front.pop("dataset_info")}
    (bare / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n{body(card)}", "utf-8")
    assert list(infos) == [entry["config_name"] for entry in front["configs"]]
    for name, told in infos.items():
        data = load_dataset(str(bare), name, cache_dir=str(tmp_path / "cache"))
        info = data["test"].info
        assert told["splits"] == [
            {"name": s, "num_bytes": info.splits[s].num_bytes, "num_examples": len(data[s])}
            for s in SPLITS
        ]
        assert told["dataset_size"] == info.dataset_size
        assert told["download_size"] == Folder(built).size(name)
        assert told["features"] == FEATURES._to_yaml_list()


def test_the_schema_table_has_every_column(built: Path) -> None:
    table = dict(card_check.tables(body(card_of(built))))["column", "type", "what it holds"]
    assert [row[0] for row in table] == [f"`{name}`" for name in FEATURES]
    assert all(len(row[2]) > 10 for row in table)


def test_the_example_is_a_row_of_the_forget_set(built: Path, corpora: Path) -> None:
    for folder in (built, corpora / "mllmu-med"):
        shown = [t for head, t in card_check.tables(body(card_of(folder))) if head[0] == ""]
        assert len(shown) == 2
        for sets, rows in zip(list(Folder(folder).configs.values())[::6], shown, strict=False):
            row = sets["forget"].loc[sets["forget"]["rank"].idxmin()]
            for field, (name, before, after) in zip(("question", "answer"), rows, strict=True):
                assert name == field
                assert unmarked(before) == row[f"clean_{field}"]
                assert unmarked(after.replace("**", "")) == row[field]
                marked = re.findall(r"\*\*(.*?)\*\*", after)
                values = [s["value"] for s in row["pii"] if s["field"] == field]
                assert [unmarked(one) for one in marked] == values


def unmarked(cell: str) -> str:
    cell = re.sub(r"\\(.)", r"\1", cell).replace("<span></span>", "")  # no link to an address
    return cell.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.usefixtures("unaudited")
@pytest.mark.parametrize("name", ["privacy", "incorrect"])
def test_an_absent_scenario_leaves_no_trace(name: str, tmp_path: Path) -> None:
    """The one that is there is the default config."""
    builder("rebuild", *PLAIN, "--scenario", name, "--limit", "290", cwd=tmp_path)
    folder = tmp_path / "mllmu-med"
    assert {file.parent.name for file in folder.glob("*/*.parquet")} == {name}
    assert set(load_dataset(str(folder))) == {*SPLITS}
    assert front_matter(card_of(folder))["configs"][0]["default"] is True
    card = card_of(folder)
    reads_well(card)
    absent = {"privacy": "incorrect", "incorrect": "privacy"}[name]
    traces = {
        "privacy": r"`privacy`|radiology\b|Faker|fictional|telephone|privacy\.png|patients",
        "incorrect": r"`incorrect`|dermatolog|skin\b|outdated practice|incorrect\.png",
    }[absent]
    # The columns are the same in every config, and so is what may be in them.
    text = re.sub(r"### Columns.*?(?=\n###)", "", card, flags=re.DOTALL)
    text = text.replace("patients' data, wrong and outdated facts", "").replace("radiology-", "")
    text = re.sub(r"```sh.*?```|CT-, MRI- and X-ray-like or skin-like", "", text, flags=re.DOTALL)
    assert not re.search(traces, text), re.search(traces, text)
    assert absent not in (folder / "croissant.json").read_text("utf-8").lower().split('"rai:')[0]


def test_small_corpora_with_one_ratio(corpora: Path) -> None:
    folder = corpora / "mllmu-med"
    card = card_of(folder)
    reads_well(card)
    assert "nested" not in body(card)
    assert [c["config_name"] for c in front_matter(card)["configs"]] == ["privacy", "incorrect"]
    assert "CC BY 4.0" in card
    assert "No licence is stated" in card
    assert "@inproceedings{liu2021slake" in card
    assert "@misc{zeng2025mmskin" in card
    found = manifest_of(folder)["sources"]
    for name, root, files in (
        ("privacy", "SLAKE", ["test.json", "train.json"]),
        ("incorrect", "MM-Skin", ["VQA.csv"]),
    ):
        assert sorted(found[name]["files"]) == files
        for path, digest in found[name]["files"].items():
            assert digest == file_digest(corpora / root / path)
            assert f"`{digest}`" in card
        assert found[name]["pictures"]["files"] == len(list((corpora / root).rglob("*.[jp][pn]g")))
    assert found["privacy"]["revision"] is None


def run_printed(card: str, cwd: Path) -> None:
    """The card's own command, as a reader would type it."""
    block = re.search(r"```sh\n(.*?)```", card, re.DOTALL)
    words = shlex.split(block[1].replace("\\\n", " "))
    assert words[:4] == ["python", "-m", "builder", "rebuild"]
    subprocess.run([sys.executable, *words[1:]], cwd=cwd, check=True, capture_output=True)


@pytest.mark.slow
def test_the_printed_command_gives_the_same_bytes(corpora: Path, demo: Path) -> None:
    for folder in (corpora, demo):
        run_printed(card_of(folder / "mllmu-med"), folder)
        assert tree(folder / "again") == tree(folder / "mllmu-med")


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "privacy.split_by=image", "--set", "seed=7", "--limit", "290"],
        ["--recipe", "paper", "--set", "privacy.source=phantom", "--scenario", "privacy"],
        ["--set", "privacy.kinds=[[name], [phone, date]]", "--set", "name=it's mine"],
        ["--set", "calibration.model=llava", "--set", "calibration.train.privacy.rank=8"],
        ["--author", "llm", "--model", "gpt 4o", "--set", "llm.temperature=null"],
        ["--set", "calibration.rater=llm", "--model", "gpt-4o"],
    ],
)
def test_the_printed_command_makes_the_recipe(facts: Facts, options: list[str]) -> None:
    from dataclasses import replace

    from builder.commands.rebuild_options import Options, make_job
    from builder.dataset_folder.card.rebuild import command

    def recipe(words: list[str]) -> Recipe:
        given: dict[str, Any] = {"--recipe": "demo", "--scenario": "all", "--set": [], "--limit": 0}
        for flag, value in zip(words[::2], words[1::2], strict=True):
            given[flag] = [*given["--set"], value] if flag == "--set" else value
        options = Options(
            given["--recipe"], given["--scenario"], author=given.get("--author"),
            model=given.get("--model"), choices=given["--set"],
            limit=int(given["--limit"]) or None, out=Path("again"),
        )  # fmt: skip
        return make_job(options).recipe

    wanted = recipe(options)
    sources = {name: {"source": "phantom", "revision": None} for name in wanted.scenarios()}
    told = {**facts.manifest, "sources": sources}
    words = shlex.split(" ".join(command(replace(facts, recipe=wanted, manifest=told))))
    assert words[:4] == ["python", "-m", "builder", "rebuild"]
    assert recipe(words[4:]) == wanted


def with_manifest(folder: Path, to: Path, **changes: Any) -> str:
    """The card of a copy of a folder of which the manifest tells something else."""
    again = copied(folder, to)
    write_card(again, Manifest.model_validate({**manifest_of(again), **changes}))
    return card_of(again)


REVIEW = {"mode": "people", "reviewers": 2, "items": 33, "accepted": 24, "edited": 2, "unseen": 3}
REVIEW |= {"rejected": {"not plausible": 3, "reveals itself": 1}, "both_decided": 7}
REVIEW |= {"agreement": 0.8571, "kappa": 0.625}


def test_reviewed_by_people(built: Path, tmp_path: Path) -> None:
    card = with_manifest(built, tmp_path / "a", review={"incorrect": REVIEW})
    told = (
        "2 people reviewed the 33 harmful texts: 24 accepted, 2 edited, 4 rejected (not plausible "
        "3, reveals itself 1), 3 accepted unseen (`--review accept-all`). On the 7 texts decided "
        "by two people they agree in 86 % (Cohen's kappa 0.62)."
    )
    assert told in card
    reads_well(card)
    assert "expert-generated" in front_matter(card)["annotations_creators"]
    assert "No physician has looked at the harmful text of `privacy`:" in card
    one = {**REVIEW, "reviewers": 1, "rejected": {}, "unseen": 0, "both_decided": 0}
    one |= {"agreement": None, "kappa": None, "items": 26}
    card = with_manifest(built, tmp_path / "b", review={"incorrect": one})
    assert "1 person reviewed the 26 harmful texts: 24 accepted, 2 edited, 0 rejected.\n" in card
    reads_well(card)


def test_accepted_unseen(built: Path, tmp_path: Path) -> None:
    nobody = {**REVIEW, "mode": "accept-all", "reviewers": 0, "accepted": 0, "edited": 0}
    nobody |= {"rejected": {}, "unseen": 33, "both_decided": 0, "agreement": None, "kappa": None}
    card = with_manifest(built, tmp_path / "a", review={"incorrect": nobody})
    told = "33 harmful texts were accepted unseen"
    assert f"- `incorrect`: {told}" in card
    assert "--review accept-all" in card.split("```sh")[1]
    assert "expert-generated" not in card
    assert "No physician has looked at the harmful text of `privacy` and `incorrect`" in card


def without_images(folder: Path, scenario: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in (folder / scenario).glob("*.parquet"):
        table = pq.read_table(path)
        field = table.schema.field("image")
        empty = pa.nulls(len(table), field.type)
        pq.write_table(table.set_column(table.schema.get_field_index("image"), field, empty), path)


def test_the_hubs_variant_with_references_gate_and_results(corpora: Path, tmp_path: Path) -> None:
    folder = copied(corpora / "mllmu-med", tmp_path / "hub")
    without_images(folder, "incorrect")
    told = manifest_of(folder)
    told["images"] = {"privacy": "embed", "incorrect": "reference"}
    for path, entry in told["files"].items():
        if path.endswith(".parquet"):
            size = (folder / path).stat().st_size
            entry |= {"bytes": size, "sha256": file_digest(folder / path)}
    report = tmp_path / "report.csv"
    figures = [
        Figure(**{**ROUGE, "config": "privacy", "run": run, "role": role}, split=split, n=n)
        for run, role in (("base", "base"), ("ga", "method"))
        for split, n in (("forget", 6), ("retain", 40), ("test", 10))
    ]
    report.write_text(to_csv(Report("privacy", figures)), "utf-8")
    results = read_results(report)
    made = Manifest.model_validate(told)
    write_card(folder, made, repo="alice/mllmu-med", gated="manual", results=results)
    card = card_of(folder)
    reads_well(card.split("## Results")[0])
    assert 'load_dataset("alice/mllmu-med", "privacy")' in card
    assert 'load("incorrect", "alice/mllmu-med", images="MM-Skin")' in card
    assert "approved by hand" in card
    assert "howpublished = {https://huggingface.co/datasets/alice/mllmu-med}" in card
    assert "publishing it with their images by reference gives this one" in card
    assert "12.34" in card.split("## Results")[1].split("##")[1]
    assert "GA" in card
    data = load_dataset(str(folder), "incorrect", cache_dir=str(tmp_path / "cache"))
    assert data["test"][0]["image"] is None
    assert "https://huggingface.co/datasets/alice/mllmu-med/discussions" in card
    croissant = json.loads((folder / "croissant.json").read_text("utf-8"))
    assert croissant["url"] == "https://huggingface.co/datasets/alice/mllmu-med"
    # The plain folder says nothing of all that.
    assert "## Results" not in card_of(corpora / "mllmu-med")
    assert "## Access" not in card_of(corpora / "mllmu-med")


ROUGE: dict[str, Any] = {"config": "privacy_r45", "run": "a", "role": "base", "metric": "rouge1"}
ROUGE |= {"value": 0.1234, "signature": "rouge-score"}


def test_results_that_are_none(facts: Facts, tmp_path: Path) -> None:
    figures = [Figure(**ROUGE, split=split) for split in reversed(SPLITS)]
    whole, path = to_csv(Report("", figures)), tmp_path / "report.csv"
    with pytest.raises(UserError, match="cannot be read"):
        read_results(path)
    for text, said in (
        ("a,b\n1,2\n", r"has no column source, .*: write it with"),
        (",".join(COLUMNS) + "\n", "holds no figures"),
        (to_csv(Report("", figures[:1])), "no rouge1 of a on forget: lines are missing"),
        (whole.replace("0.1234", "half", 1), "row 2: value: Input should be a valid number"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(UserError, match=said):
            read_results(path)
    path.write_text(whole, "utf-8")
    with pytest.raises(UserError, match="results of privacy_r45: this dataset has privacy,"):
        render_card(facts, results=read_results(path))


def test_no_file_names_the_machine(built: Path, corpora: Path) -> None:
    """Its own paths and name; what the manifest lists is the audit's to look at."""
    for folder in (built, corpora / "mllmu-med"):
        for path, data in tree(folder).items():
            assert str(folder.parent).encode() not in data, path
            assert b"/site-packages" not in data, path
        text = json.dumps(manifest_of(folder))
        assert str(Path.home()) not in text
        assert socket.gethostname() not in text
        assert Recipe.model_validate(manifest_of(folder)["recipe"])


@pytest.mark.slow
def test_two_builds_in_two_places_are_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    """The plots too, whatever settings of matplotlib the machine has."""
    (tmp_path / "rc").mkdir()
    (tmp_path / "rc/matplotlibrc").write_text("font.size: 20\nfigure.facecolor: red\n")
    env = {"MATPLOTLIBRC": str(tmp_path / "rc/matplotlibrc"), "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    builder("rebuild", *PLAIN, "--out", "other-name", cwd=tmp_path, env=env)
    assert tree(tmp_path / "other-name") == tree(demo / "mllmu-med")


def test_facts_of_no_dataset(tmp_path: Path, built: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as a dataset folder"):
        read_facts(tmp_path)
    folder = copied(built, tmp_path / "cut")
    (folder / "privacy/test.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read as a dataset folder"):
        read_facts(folder)


def no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("the network was used")


@pytest.mark.slow
def test_croissant_reads_records(built: Path, corpora: Path, monkeypatch: Any, caplog: Any) -> None:
    import mlcroissant

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for folder in (built, corpora / "mllmu-med"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
        issues = found.metadata.ctx.issues
        assert not issues.errors
        # Equal builds are equal bytes, so there is no date; nothing else is missed.
        assert len(issues.warnings) == 1
        assert "datePublished" in next(iter(issues.warnings))
        files = {one.id: one.sha256 for one in found.metadata.file_objects}
        assert files == {
            path: entry["sha256"]
            for path, entry in manifest_of(folder)["files"].items()
            if path.startswith(("privacy/", "incorrect/"))
        }
        caplog.clear()
        for name, sets in Folder(folder).configs.items():
            records = list(found.records(name))
            assert len(records) == sum(map(len, sets.values()))
            for split, frame in sets.items():
                mine = [one for one in records if one[f"{name}/split"].decode() == split]
                assert sorted(one[f"{name}/id"].decode() for one in mine) == sorted(frame["id"])
            row = sets["forget"].iloc[0]
            first = next(one for one in records if one[f"{name}/id"].decode() == row["id"])
            assert first[f"{name}/answer"].decode() == row["answer"]
            assert first[f"{name}/rank"] == row["rank"]
            assert first[f"{name}/image"].width > 10
            spans = [
                {
                    k.rpartition("/")[2]: v.decode() if isinstance(v, bytes) else v
                    for k, v in s.items()
                }
                for s in first[f"{name}/pii"]
            ]
            assert spans == row["pii"]
        assert "Could not match" not in caplog.text


def test_croissant_says_what_the_card_says(built: Path) -> None:
    told = json.loads((built / "croissant.json").read_text("utf-8"))
    assert told["license"] == ["https://creativecommons.org/publicdomain/zero/1.0/"]
    assert "xu2025learning" in told["citeAs"]
    assert all(limit.replace("`", "") in told["rai:dataLimitations"] for limit in limits(built))
    assert "555-0100" in told["rai:personalSensitiveInformation"]


def test_who_the_images_show_is_told(built: Path, corpora: Path) -> None:
    """Text is fictional; patients on SLAKE's and MM-Skin's pictures are not."""
    real, drawn = card_of(corpora / "mllmu-med"), card_of(built)
    for card in (real, drawn):
        assert "Every person in it is fictional" not in card
        assert "All personal data in the text are fictional" in card
    for told in (
        "SLAKE's images are of real patients",
        "MM-Skin's images are of real patients",
        "are not those of the patient in its image",
    ):
        assert told in real.split("## Personal data")[1].split("\n## ")[0]
        croissant = json.loads((corpora / "mllmu-med/croissant.json").read_text("utf-8"))
        assert told in croissant["rai:personalSensitiveInformation"]
        assert told not in drawn
    assert "real patients" not in drawn
    assert "/discussions" not in real


def limits(folder: Path) -> list[str]:
    section = card_of(folder).split("## Limitations\n\n")[1].split("\n\n")[0]
    return [line.removeprefix("- ") for line in section.splitlines()]


def test_a_pinned_mirror_is_named_with_its_revision(corpora: Path, tmp_path: Path) -> None:
    from builder.core.corpus import Corpus, shipped_mapping
    from builder.ingest.slake import HUB_REVISION

    told = manifest_of(corpora / "mllmu-med")
    recipe, ingest = Recipe.model_validate(told["recipe"]), ("privacy", "ingest")
    state = read_state(corpora.joinpath("mllmu-med.work", *ingest))
    slake = Corpus("slake", tmp_path / "snapshots" / HUB_REVISION, shipped_mapping("slake"))
    source = _source(recipe.privacy, state, slake)
    assert source == {**told["sources"]["privacy"], "revision": HUB_REVISION}
    keyed = slake.mapping.model_copy(update={"names": "keyed"})
    nameless = _source(recipe.privacy, state, Corpus("table", tmp_path, keyed, revision="abc"))
    assert nameless["revision"] is None
    assert list(nameless["files"]) == [f"corpus-{n}" for n in (1, 2)]
    assert sorted(nameless["files"].values()) == sorted(source["files"].values())
    sources = {**told["sources"], "privacy": source}
    card = with_manifest(corpora / "mllmu-med", tmp_path / "a", sources=sources)
    assert "--slake hub" in card
    assert f"SLAKE: Hub mirror `BoKelvin/SLAKE` at revision `{HUB_REVISION}`." in card
