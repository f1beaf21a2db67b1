"""The review page with hostile texts, for every eye and hand, and at its full size."""

import base64
import io
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from cases import cases
from corpora import image_data
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page
from review_page import Reviewer, an_item, image_of, page_file

from builder.review.page import render_page, word_marks
from mllmu_med_dataset import PiiSpan, UserError

CASES = cases(__file__)

HOSTILE = CASES["hostile"]


@pytest.mark.parametrize(
    ("case", "width"),
    [*((case, 1280) for case in HOSTILE), *((case, 390) for case in HOSTILE if "without" in case)],
)
def test_hostile_texts_do_not_run(browser: Browser, tmp_path: Path, case: str, width: int) -> None:
    text = HOSTILE[case]
    fields = ("id", "modality", "image_id", "question", "clean_answer", "answer", "what_is_wrong")
    everywhere = dict.fromkeys(fields, text)
    items = [an_item(0), an_item(1, **everywhere, clean_question=f"{text}?", harm=text), an_item(2)]
    context = browser.new_context(viewport={"width": width, "height": 800})
    reviewer = Reviewer(context, page_file(tmp_path, items, reviewer=text))
    title = reviewer.page.title()
    assert title != "run"
    reviewer.keys("j")
    assert reviewer.text("where") == "Sample 2 of 3"
    # Newlines as a reader sees them; what cannot be seen has become a mark.
    shown = reviewer.text("answer")
    seen = re.sub("[\\W_]+", " ", text.replace("\u202e", "U+202E").replace("\x1b", "U+001B"))
    assert seen.split()[0] in shown
    assert seen.split()[0] in reviewer.text("wrong")
    assert reviewer.page.locator("#answer img, #answer script, #question b").count() == 0
    wide = "[document.documentElement.scrollWidth, document.getElementById('texts').scrollWidth]"
    scrolls, inner = reviewer.page.evaluate(wide)
    assert scrolls <= width
    assert inner <= width
    reviewer.keys("e", "Escape", "c")
    reviewer.type("note " + text.encode("utf-8", "replace").decode())
    reviewer.keys("Escape", "a")
    assert reviewer.page.title() == title
    export = reviewer.exported(tmp_path)
    (decision,) = export["decisions"]
    assert (decision["id"], export["reviewer"]) == (text, text)
    # Saved as an edit without a change: the texts are the very same.
    reviewer.keys("k", "k", "j", "e", "Control+Enter")
    (decision,) = reviewer.exported(tmp_path)["decisions"]
    assert (decision["decision"], decision["question"], decision["answer"]) == ("edit", text, text)
    reviewer.reload()
    assert reviewer.text("count") == "1 of 3 decided"
    assert reviewer.troubles == []
    context.close()


def test_nothing_runs_but_the_page_itself(context: BrowserContext, tmp_path: Path) -> None:
    """Even markup that got into the page would neither run nor fetch anything."""
    page = context.new_page()
    page.goto(page_file(tmp_path, [an_item(0)]).as_uri())
    fetched: list[str] = []
    refused: list[str | None] = []
    page.on("requestfinished", lambda request: fetched.append(request.url))
    page.on("requestfailed", lambda request: refused.append(request.failure))
    title = page.title()
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = "document.title = 'run'";
            const box = document.createElement('div');
            box.innerHTML = '<img src="x" onerror="document.title=1"><img src="http://a.test/b">';
            document.body.append(script, box);
            return fetch('http://a.test/c').catch(() => 0);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.title() == title
    assert fetched == []
    assert set(refused) == {"csp"}  # by the page's own policy, before any network


def test_what_cannot_be_seen_is_marked(context: BrowserContext, tmp_path: Path) -> None:
    texts = [HOSTILE[name] for name in ("right to left", "controls", "emoji", "half of a pair")]
    items = [an_item(n, answer=text) for n, text in enumerate(texts)]
    reviewer = Reviewer(context, page_file(tmp_path, items))
    marks = []
    for _ in items:
        marks.append(reviewer.page.locator("#answer .unseen").all_inner_texts())
        reviewer.keys("j")
    assert marks == [
        ["U+202E", "U+2066", "U+2069", "U+200F"],
        ["U+0000", "U+001B", "U+0007", "U+FEFF", "U+200B", "U+E0041"],
        ["U+200D"],  # also inside an emoji
        ["U+D83E", "U+DEC1"],
    ]


def test_private_values_bear_their_kind(context: BrowserContext, tmp_path: Path) -> None:
    answer = "\U0001fac1\U0001fac1 Call Ada\u00a0Li at 555-0100: no lesion."  # two units an emoji
    spans = [
        PiiSpan("answer", kind, value, answer.index(value), answer.index(value) + len(value))
        for kind, value in (("name", "Ada\u00a0Li"), ("phone", "555-0100"))
    ]
    item = an_item(1, "privacy", answer=answer, clean_answer="No lesion.", values=tuple(spans))
    reviewer = Reviewer(context, page_file(tmp_path, [item]))
    values = reviewer.page.locator("#answer .value").all_text_contents()
    assert values == ["Ada\u00a0Liname", "555-0100phone"]
    assert reviewer.text("answer") == answer


def test_words_that_stand_in_both_texts_are_not_marked() -> None:
    def unmarked(text: str, places: list[tuple[int, int]]) -> str:
        for start, end in reversed(places):
            text = text[:start] + text[end:]
        return text.replace(" ", "")

    draw = random.Random(7)
    for _ in range(150):
        one, two = (" ".join(draw.choices("abcde", k=draw.randint(0, 12))) for _ in range(2))
        marks = word_marks(one, two)
        kept = unmarked(one, marks.removed)
        assert kept == unmarked(two, marks.added)  # the same words, in the same order
        words, other = one.replace(" ", ""), two.replace(" ", "")
        runs = (words[i:j] for i in range(12) for j in range(13) if words[i:j] in other)
        assert len(kept) >= max(map(len, runs)) or marks.rewritten
    assert word_marks("Yes.", "No.").rewritten
    assert word_marks("\u00b9 a, b; c d", "\u00b9 x, y; c d")[1:] == ([(2, 6)], [(2, 6)])


def test_changes_are_not_marked_by_colour_alone(context: BrowserContext, tmp_path: Path) -> None:
    items = [an_item(0), an_item(1, answer="Entirely else."), an_item(2, answer="")]
    reviewer = Reviewer(context, page_file(tmp_path, items))
    inserted = reviewer.page.locator("#answer ins").all_text_contents()
    assert inserted == ["added: black, ragged melanoma"]
    deleted = reviewer.page.locator("#clean-answer del").all_text_contents()
    assert deleted == ["removed: brown, sharply bordered nevus"]
    line = "el => getComputedStyle(el).textDecorationLine"
    assert reviewer.page.locator("#answer ins").evaluate(line) == "underline"
    assert reviewer.page.locator("#clean-answer del").evaluate(line) == "line-through"
    reviewer.keys("e")
    reviewer.type(" Really.")
    reviewer.keys("Control+Enter", "k")  # an edited text: nobody has compared it
    assert reviewer.page.locator("#sample .text :is(ins, del)").count() == 0
    assert reviewer.page.locator("#legend").is_hidden()
    reviewer.keys("j")
    assert reviewer.text("compared") == "entirely other words"
    reviewer.keys("j")
    assert reviewer.text("answer") == "(empty)"


def test_a_page_cut_off_on_its_way_says_so(context: BrowserContext, tmp_path: Path) -> None:
    path = page_file(tmp_path, [an_item(n) for n in range(10)])
    html = path.read_text("utf-8")
    path.write_text(html[: html.index('id="picture-3"') + 200], "utf-8")
    reviewer = Reviewer(context, path)
    assert "This file is incomplete" in reviewer.text("banners")
    reviewer.keys(*"j" * 8)
    assert reviewer.page.locator("#picture-missing").is_visible()
    reviewer.keys("a")
    assert reviewer.text("count") == "1 of 10 decided"


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        pytest.param(390, "dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(browser: Browser, tmp_path: Path, scheme: Any, width: int) -> None:
    items = [an_item(0), an_item(1), an_item(2, "privacy"), an_item(3, "privacy"), an_item(4)]
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    reviewer = Reviewer(context, page_file(tmp_path, items), guided=False)
    page = reviewer.page
    check(page, "guide")
    reviewer.keys("Enter")
    check(page, "incorrect sample")
    reviewer.keys("r")
    check(page, "reasons")
    reviewer.keys("Enter")
    check(page, "no reason chosen")
    reviewer.keys("1", "Enter", "e")
    check(page, "edit")
    reviewer.keys("Escape", "k")
    check(page, "rejected sample")
    for key in ("?", "v"):
        reviewer.keys(key)
        check(page, f"key {key}")
        reviewer.keys("Escape")
    page.click("[data-do=menu]")
    check(page, "menu")
    reviewer.keys("Escape", "f")
    page.fill("#search", "privacy")
    check(page, "filter")
    reviewer.keys("Enter", "e")
    page.fill("#edit-question", "")
    check(page, "privacy edit")
    page.click("#edit-save")
    page.fill("#search", "nothing like it")
    check(page, "nothing found")
    page.click("#empty-clear")
    page.evaluate("banner('storage', 'It is full.')")
    check(page, "banner")
    reviewer.keys("n", "a", "n", "a", "n", "a")
    assert reviewer.open() == "finish"
    check(page, "finish")
    assert reviewer.troubles == []
    context.close()


def check(page: Page, what: str) -> None:
    page.wait_for_timeout(50)
    found = Axe().run(page).response["violations"]
    bad = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert bad == [], f"{what}: {bad}"


def test_every_key_reaches_and_leaves_everything(context: BrowserContext, tmp_path: Path) -> None:
    reviewer = Reviewer(context, page_file(tmp_path, [an_item(0), an_item(1)]))
    reviewer.keys("f", "Escape")
    seen = Counter()
    for _ in range(60):
        reviewer.keys("Tab")
        seen[reviewer.page.evaluate("document.activeElement.outerHTML.slice(0, 90)")] += 1
    assert sum("data-do" in html for html in seen) >= 10
    assert max(seen.values()) <= 5  # round and round, stuck nowhere


def images_of(html: str) -> list[bytes]:
    found = re.findall(r'<script type="text/plain" id="picture-\d+">([^<]*)</script>', html)
    return [base64.b64decode(one) for one in found]


def test_each_image_is_embedded_once_as_it_is_where_it_fits() -> None:
    items = [an_item(n) for n in range(10)]
    html = render_page(items, image_of, "a", "set")
    assert images_of(html) == [image_of(item) for item in items[::2]]


def test_large_images_shrink_to_the_budget_and_small_ones_stay() -> None:
    small, large = image_data(1, side=40), image_data(2, side=900)
    wide = io.BytesIO()
    grey = np.random.default_rng(3).integers(0, 65535, (700, 1400), dtype="uint16")
    Image.fromarray(grey).save(wide, "PNG")
    clear = io.BytesIO()
    Image.new("RGBA", (1200, 900), (255, 0, 0, 0)).save(clear, "PNG", compress_level=0)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(4).integers(0, 255, (500, 1000, 3), dtype="uint8")
    Image.fromarray(noise).save(turned, "JPEG", exif=exif)
    sources = [small, large, wide.getvalue(), clear.getvalue(), turned.getvalue()]
    items = [an_item(2 * n) for n in range(5)]
    bytes_of = {item.image_sha256: data for item, data in zip(items, sources, strict=True)}
    html = render_page(items, lambda item: bytes_of[item.image_sha256], "a", "set", budget=200_000)
    made = images_of(html)
    assert sum(len(base64.b64encode(data)) for data in made) <= 200_000
    assert made[0] == small
    copies = [Image.open(io.BytesIO(data)) for data in made[1:]]
    assert [copy.format for copy in copies] == ["JPEG", "JPEG", "PNG", "JPEG"]
    assert [copy.width / copy.height for copy in copies] == pytest.approx([1, 2, 4 / 3, 0.5], 0.01)
    assert 110 < np.asarray(copies[1]).mean() < 145  # 16 bits are scaled, not cut to white
    assert np.asarray(copies[2]).min() > 250  # what is transparent is white, as on a page
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    told = json.loads(match[1])["pictures"]
    sizes = [[40, 40], [900, 900], [1400, 700], [1200, 900], [500, 1000]]
    assert [one["size"] for one in told] == sizes
    assert told[0]["copy"] is told[3]["copy"] is None  # an all white PNG is small
    assert [told[n]["copy"] for n in (1, 2, 4)] == [list(copies[n - 1].size) for n in (1, 2, 4)]


def test_too_many_images_are_refused_with_a_way_out() -> None:
    items = [an_item(n) for n in range(20)]
    with pytest.raises(UserError, match=r"10 images are too many .* --scenario .* --reviewers"):
        render_page(items, image_of, "a", "set", budget=5_000)
