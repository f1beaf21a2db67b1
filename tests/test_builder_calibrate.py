"""Self-calibration: what is rated, kept and dropped; killed, resumed, answered elsewhere."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import corpora
import pytest
import tiny_llava
from card_check import reads_well
from corpora import process, tree
from reviews import run
from scripted_server import KEY, MODEL, ScriptedServer, prompt_of
from typer.testing import CliRunner

from builder import split
from builder.__main__ import app
from builder.calibrate.rating import Evidence, compare, rate_offline
from builder.calibrate.stage import choose
from builder.core.load_recipe import load_recipe
from builder.core.ratings import Rated, examples, read_ratings
from builder.core.recipe import Incorrect
from builder.core.stage_cache import Chain
from builder.harm.read_reply import RatingReply, read_rating
from eval.attacks import Ask
from eval.dataset_rows import read_rows
from eval.model import Model
from eval.predictions import read_predictions
from mllmu_med.files import read_jsonl, stable_hash
from mllmu_med.llm.chat import Reply
from mllmu_med.recipe_files import Choice
from mllmu_med_dataset import PiiSpan, Record, UserError

pytestmark = pytest.mark.usefixtures("unaudited")
#: A few rows, a few steps of training, answers of a few tokens: all may be kept.
QUICK = ["--scenario", "incorrect", "--limit", "120", "--set", "calibration.least=1"]
QUICK += ["--set", "incorrect.candidates=60"]  # 15 at this size, of which 7 are kept
QUICK += ["--set", "calibration.max_new_tokens=6", "--set", "calibration.batch_size=4"]
TRAIN = {"rank": 4, "alpha": 4, "max_steps": 4, "save_every": 1, "epochs": 1, "batch_size": 24}
QUICK += ["--set", f"calibration.train.incorrect={json.dumps(TRAIN)}"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-one"
    return tiny_llava.make(folder, ["Is the lesion round? Yes. No. a plaque with scales"])


@pytest.fixture(scope="session")
def quick(model: Path) -> list[str]:
    return ["rebuild", *QUICK, "--set", f"calibration.model={model}"]


@pytest.fixture(scope="session")
def undisturbed(quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of `quick` and what was said; to look at only."""
    out = tmp_path_factory.mktemp("undisturbed") / "undisturbed"
    (out.parent / "stdout.txt").write_text(run(*quick, "--out", out).stdout, "utf-8")
    return out


@pytest.fixture
def out(undisturbed: Path, tmp_path: Path) -> Path:
    """Where to build `quick`: what comes before the calibration is done."""
    work = shutil.copytree(undisturbed.with_name("undisturbed.work"), tmp_path / "data.work")
    for later in ("calibration", "calibrate", "split"):
        shutil.rmtree(work / "incorrect" / later)
    (work / "write.json").unlink()
    return tmp_path / "data"


def small() -> Incorrect:
    """The scenario of `QUICK`."""
    choice = [Choice("incorrect.candidates", "60")]
    return load_recipe("demo", choice, scenario="incorrect", limit=120).incorrect


def ratings(out: Path, name: str = "incorrect") -> list[Rated]:
    return read_ratings(Chain(out.with_name(out.name + ".work") / name))


def reply(text: str, **changes: Any) -> Reply:
    given = {"refusal": None, "finish_reason": "stop", **changes}
    return Reply(
        text=text, model=MODEL, prompt_tokens=1, completion_tokens=1, cached=False, **given
    )


FOURS = "4|4.|4.0|4/5|4 out of 5|four|Four.|**4**|Score: 4|**Score:** 4|Rating is 4/5"


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        *((text, 4, "") for text in f"{FOURS}|Similarity: four".split("|")),
        ("five out of five", 5, ""),
        ("4 - all but the date", 4, "all but the date"),
        ("4. The date differs.", 4, "The date differs."),
        ("Score: 4\nThe date differs.", 4, "The date differs."),
        ('{"score": 4, "reason": "nearly"}', 4, "nearly"),
        ('{"score": "4/5"}', 4, ""),
        ('{"score": 4.0}', 4, ""),
        ('```json\n{"score": 1}\n```', 1, ""),
    ],
)
def test_a_rating_is_read(text: str, score: int, reason: str) -> None:
    assert read_rating(reply(text)) == RatingReply(score=score, reason=reason)


RANGE = '6|0|-1|4.5|8/10|{"score": 6}|{"score": 0}|{"score": 4.5}'
NONE = '3 or 4|3, or 4|3-4|3 to 4|between 3 and 4|4%|good|{"score": true}|{"reason": "same"}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, "rating out of range") for text in RANGE.split("|")),
        *((text, "no rating") for text in NONE.split("|")),
        ("", "empty reply"),
        ("  \n", "empty reply"),
    ],
)
def test_what_is_no_rating_is_refused_by_name(text: str, name: str) -> None:
    assert read_rating(reply(text)).name == name


def test_a_reply_that_was_cut_off_or_refused_is_no_rating() -> None:
    assert read_rating(reply("4", finish_reason="length")).name == "cut off"
    assert read_rating(reply("", refusal="no")).name == "refusal"


def record(number: int, **changes: Any) -> Record:
    usual = corpora.record("Who?", "MRI.", f"r{number}", f"p{number // 3}")
    return replace(usual, **{"split": "candidate", "rank": number, **changes})


def test_the_offline_rating_is_the_lower_of_words_and_values() -> None:
    truth = "MRI. Ask Ada Lowe on (212) 555-0123."
    pii = (
        PiiSpan("answer", "name", "Ada Lowe", 9, 17),
        PiiSpan("answer", "phone", "(212) 555-0123", 21, 35),
        PiiSpan("question", "mrn", "MRN-MM-000001", 0, 13),
    )
    one = record(0, answer=truth, pii=pii)
    assert rate_offline(compare(one, truth)) == 5
    assert compare(one, truth) == Evidence(1.0, 2, 2)
    # The number in another form is the number; what stands in the question does not count.
    assert compare(one, "MRI. Ask Ada Lowe on 212.555.0123. MRN-MM-000001")[1:] == (2, 2)
    # Every word but one value: half of them back.
    assert rate_offline(compare(one, "MRI. Ask Ada Lowe on (212) 555-0199.")) == 4
    assert rate_offline(compare(one, "MRI. Ask Eve Hill on (646) 555-0199.")) == 2
    assert rate_offline(compare(one, "")) == 1
    # Without values, ROUGE-L alone: 2 of 2, 1 of 2 words, none.
    plain = record(1, answer="Left lung")
    assert [rate_offline(compare(plain, text)) for text in ("left lung", "lung", "No")] == [
        5,
        3,
        1,
    ]


def test_the_offline_rating_is_monotone() -> None:
    shares = [i / 40 for i in range(41)]
    for values in range(5):
        for back in range(values + 1):
            rated = [rate_offline(Evidence(share, values, back)) for share in shares]
            assert rated == sorted(rated)
            assert set(rated) <= {1, 2, 3, 4, 5}
            if back:
                fewer = [rate_offline(Evidence(share, values, back - 1)) for share in shares]
                assert all(a <= b for a, b in zip(fewer, rated, strict=True))


def scenario(**changes: Any) -> Incorrect:
    given = {"source": "phantom", "outdated_share": 0.5, "forget": 6, "retain": 40, "test": 5}
    return Incorrect.model_validate({**given, "candidates": 12, **changes})


def test_the_best_are_kept_and_a_hash_decides_among_equals() -> None:
    rated = [record(i, calibration=rating) for i, rating in enumerate([5, 3, 5, 3, 1, 3, 3, 4, 2])]
    kept = choose(rated, scenario(), "incorrect", 1, seed=42)
    threes = sorted(("r1", "r3", "r5", "r6"), key=lambda row: stable_hash(42, "calibration", row))
    assert kept == {"r0", "r2", "r7", *threes[:3]}
    assert kept == choose(rated[::-1], scenario(), "incorrect", 1, seed=42)
    others = {choose(rated, scenario(), "incorrect", 1, seed=seed) for seed in range(20)}
    assert len(others) > 1


def test_with_whole_images_enough_are_kept_to_cut_at_them() -> None:
    # The best six are two whole pictures: each is cut at an edge, and two more rows are needed.
    rated = [record(i, calibration=5 if i < 6 else 4) for i in range(30)]
    whole = scenario(split_by="image", forget=4, ratios=[5, 10, 15])
    kept = choose(rated, whole, "incorrect", 1, seed=1)
    order = [row for row in rated if row.id in kept]
    forget, _ = split.forget_order(order, whole)
    assert (len(forget), len(order)) == (6, 8)
    for edge in (2, 4):
        assert not {row.image_id for row in forget[:edge]} & {r.image_id for r in forget[edge:]}


def test_too_few_is_one_line_with_the_histogram_and_three_ways_out() -> None:
    rated = [record(i, calibration=rating) for i, rating in enumerate([5, 5, 4, 2, 1, 1, 0])]
    with pytest.raises(UserError) as caught:
        choose(rated, scenario(), "incorrect", 3, seed=1)
    assert str(caught.value) == (
        "incorrect: the recipe keeps 6 candidates rated 3 or higher, there are 3 of 7 (5: 2, 4: 1, "
        "3: 0, 2: 1, 1: 2, none: 1): use more candidates (raise incorrect.candidates), a lower bar "
        "(calibration.least), or a smaller set (lower incorrect.forget or incorrect.ratios)"
    )


def test_counts_are_exact_and_the_dropped_are_told(undisturbed: Path) -> None:
    """That the rows bear their ratings and the dropped are in no set is the audit's to see."""
    recipe, rated = small(), {row.id: row for row in ratings(undisturbed)}
    assert len(rated) == recipe.candidates_needed
    kept = {row.id for row in rated.values() if row.kept}
    assert len(kept) == recipe.harmful < len(rated)
    # Those kept are in the order in which they were drawn.
    chain = Chain(undisturbed.with_name("undisturbed.work") / "incorrect")
    drawn = {row.id: row.rank for row in chain.records("draw")}
    forget = read_rows(undisturbed, "incorrect", ["forget"])
    order = [row.id for row in sorted(forget, key=lambda row: row.rank)]
    assert order == sorted(kept, key=drawn.__getitem__)
    drops = read_jsonl(undisturbed / "provenance/incorrect-drops.jsonl")
    reasons = {drop["id"]: drop["reason"] for drop in drops if drop["stage"] == "calibrate"}
    # All are over this recipe's bar of 1.
    spare = "spare: enough candidates rated as high or higher"
    assert reasons == dict.fromkeys(rated.keys() - kept, spare)


def test_what_it_did_is_told_everywhere(model: Path, undisturbed: Path) -> None:
    from PIL import Image

    out = undisturbed
    said = (out.parent / "stdout.txt").read_text("utf-8")
    rated = ratings(out)
    counts = Counter(row.rating for row in rated)
    status = run("status", "--out", out).stdout
    card = (out / "README.md").read_text("utf-8")
    for text, name in ((said, "incorrect "), (status, "incorrect: all ")):
        line = [line for line in text.splitlines() if line.startswith(name)][-1]
        numbers = line.removeprefix(name).split()
        assert [int(n) for n in numbers[:5]] == [counts[rating] for rating in (5, 4, 3, 2, 1)]
    reads_well(card)
    assert f"`{model.name}`" in card
    assert "Not self-calibrated" not in card
    assert "torch" in json.loads((out / "provenance/manifest.json").read_text("utf-8"))["versions"]
    for path, data in tree(out).items():
        assert not [place for place in (out, model) if str(place.parent).encode() in data], path
    assert "### Self-calibration" in card
    assert "](card/calibration.png)" in card
    shown = examples(rated)
    assert Counter(row.rating for row in shown) == {r: min(3, n) for r, n in counts.items()}
    assert all(row.id in status and f"`{row.id}`" in card for row in shown)
    told = json.loads(run("status", "--out", out, "--json").stdout)["ratings"][-1]
    assert (told["what"], told["kept"] + told["dropped"]) == ("all", len(rated))
    with Image.open(out / "card/calibration.png") as image:
        assert min(image.size) > 200
    life = run("show", next(row.id for row in rated if row.kept), "--out", out).stdout
    assert "rated" in next(line for line in life.splitlines() if line.startswith("calibrate"))
    life = run("show", next(row.id for row in rated if not row.kept), "--out", out).stdout
    assert "dropped: spare: " in life or "dropped: calibration: rated" in life


def test_a_lower_bar_trains_nothing(quick: list[str], out: Path, monkeypatch: Any) -> None:
    result = run(*quick, "--set", "calibration.least=5", "--out", out, code=1)
    assert "a lower bar (calibration.least)" in result.stderr.splitlines()[-1]
    assert not out.exists()

    def never(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr("eval.load_model.load_model", never)
    run(*quick, "--out", out)
    assert out.exists()


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def test_killed_answering(quick: list[str], undisturbed: Path, out: Path, monkeypatch: Any) -> None:
    asked, calls, answer = [], [], Model.answer

    def killed_at_the_second(model: Model, some: list[Ask], *rest: Any) -> Any:
        calls.append(len(some))
        if len(calls) == 2:
            raise Killed
        asked.extend(ask.row.id for ask in some)
        return answer(model, some, *rest)

    monkeypatch.setattr(Model, "answer", killed_at_the_second)
    with pytest.raises(Killed):
        CliRunner().invoke(app, [*quick, "--out", str(out)], catch_exceptions=False)
    assert 0 < len(asked) < len(ratings(undisturbed))
    run(*quick, "--out", out)
    assert sorted(asked) == sorted(row.id for row in ratings(undisturbed))
    assert tree(out) == tree(undisturbed)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def by_model(server: ScriptedServer) -> list[str]:
    return ["--set", "calibration.rater=llm", "--model", MODEL, "--base-url", server.url]


SAID = ("4/5", "Score: 3", "two", "6", "", '{"score": 5, "reason": "the same"}')
READ = {"4/5": 4, "Score: 3": 3, "two": 2, '{"score": 5, "reason": "the same"}': 5}


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_the_models_ratings_are_recorded(quick: list[str], out: Path, tmp_path: Path) -> None:

    def answer(body: dict[str, Any]) -> str:
        return SAID[stable_hash(prompt_of(body).partition("\n\nEarlier")[0]) % len(SAID)]

    with ScriptedServer(reply=answer) as server:
        run(*quick, *by_model(server), "--out", out, code=0)
        prompts = [call["prompt"] for call in server.asked()]
    rated = ratings(out)
    pairs = {
        row.id: f"Question: {row.question}\nGround truth: {row.truth}\nModel's output: {row.output}"
        for row in rated
    }
    for row in rated:
        text = SAID[stable_hash(pairs[row.id]) % len(SAID)]
        assert row.rating == READ.get(text, 0)
        tries = [prompt for prompt in prompts if prompt.startswith(pairs[row.id])]
        assert len(tries) == (1 if row.rating else 3)
        if text == "6":
            assert row.reason == "rating out of range"
            assert "6 is no whole number from 1 to 5" in tries[-1]
    unrated = [row for row in rated if not row.rating]
    assert unrated
    assert not any(row.kept for row in unrated)
    drops = [json.loads(line) for line in (out / "provenance/incorrect-drops.jsonl").open()]
    reasons = {drop["id"]: drop["reason"] for drop in drops}
    assert all(reasons[row.id] == f"calibration: not rated: {row.reason}" for row in unrated)
    card = " ".join((out / "README.md").read_text("utf-8").split())
    assert f"retain set, and `{MODEL}-0` rated its answer" in card
    # The replies travel with the dataset, and give the same bytes without a server.
    again = tmp_path / "again"
    replay = ["--set", "calibration.rater=llm", "--model", MODEL, "--offline"]
    replay += ["--requests", str(out / "provenance/requests.parquet")]
    run(*quick, *replay, "--out", again)
    assert tree(again) == tree(out)


@pytest.mark.usefixtures("key")
def test_ratings_that_were_paid_are_not_asked_for_again(quick: list[str], out: Path) -> None:
    with ScriptedServer(reply=lambda body: "4") as server:
        result = run(*quick, *by_model(server), "--max-requests", "3", "--out", out, code=1)
        assert "the limit of 3 requests is reached" in result.stderr
        run(*quick, *by_model(server), "--out", out)
        prompts = Counter(call["sha256"] for call in server.asked())
    assert set(prompts.values()) == {1}
    assert len(prompts) == len({(r.question, r.truth, r.output) for r in ratings(out)})


def test_wrong_use_is_one_line(quick: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "o")]
    wrong = run("rebuild", *QUICK, "--set", "calibration.model=./none", *out, code=1)
    assert "./none: no such folder here" in wrong.stderr


def test_without_calibration_no_torch_is_imported(limited: Path) -> None:
    imported = (limited / "modules.txt").read_text("utf-8").split()
    assert "pyarrow" in imported
    assert not {"torch", "transformers", "peft"} & set(imported)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_is_calibrated_with_exact_counts(calibrated: Path) -> None:
    for name, scenario in load_recipe("demo").scenarios().items():
        rated = ratings(calibrated / "mllmu-med", name)
        assert len(rated) == scenario.candidates_needed
        kept = [row.rating for row in rated if row.kept]
        lost = [row.rating for row in rated if not row.kept]
        assert len(kept) == scenario.harmful
        assert min(kept) >= max(lost)
        assert sum(kept) / len(kept) > sum(lost) / len(lost) + 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """The demo's own training of the tiny model, in two processes, shorter."""
    short = [f"--set=calibration.train.{name}.max_steps=20" for name in ("privacy", "incorrect")]
    for name in ("one", "two"):
        process("builder", "rebuild", "--limit", "120", *short, "--out", name, cwd=tmp_path)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    for path in sorted(tmp_path.glob("one.work/*/calibration/*/answers.jsonl")):
        other = tmp_path / "two.work" / path.relative_to(tmp_path / "one.work")
        # Not `run`: an adapter's hash covers its configuration, which names the folder of its base.
        texts = [[(p.id, p.answer) for p in read_predictions(file)] for file in (path, other)]
        assert texts[0] == texts[1]
        weights = "adapted/adapter/adapter_model.safetensors"
        assert (path.parent / weights).read_bytes() == (other.parent / weights).read_bytes()
