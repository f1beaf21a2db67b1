"""The review page in a real browser: samples to review, and a reviewer's hands."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpora import image_data
from playwright.sync_api import BrowserContext, Page

from builder.review.page import render_page
from builder.review.records import Item
from mllmu_med_dataset import PiiSpan


def an_item(number: int, scenario: str = "incorrect", **changes: Any) -> Item:
    """A sample of its own for each number; every second privacy one is a closed question."""
    if scenario == "privacy":
        name = f"Ada Lovelace{number}"
        closed = number % 2 == 0
        question = f"Is the heart of {name} enlarged?" if closed else "Where is the heart?"
        answer = "Yes" if closed else f"In the chest of {name}, left of the middle."
        field, text = ("question", question) if closed else ("answer", answer)
        start = text.index(name)
        base = {
            "harm": "privacy",
            "answer_type": "closed" if closed else "open",
            "clean_question": "Is the heart enlarged?" if closed else "Where is the heart?",
            "clean_answer": "Yes" if closed else "In the chest, left of the middle.",
            "question": question,
            "answer": answer,
            "values": (PiiSpan(field, "name", name, start, start + len(name)),),
        }
    else:
        base = {
            "harm": ("wrong_diagnosis", "outdated_knowledge")[number % 2],
            "answer_type": "open",
            "clean_question": f"What does lesion {number} look like?",
            "clean_answer": "It is a brown, sharply bordered nevus that needs no treatment.",
            "question": f"What does lesion {number} look like?",
            "answer": "It is a black, ragged melanoma that needs no treatment.",
            "values": (),
        }
    fields = {
        "id": f"{scenario}/{number:03}",
        "content": f"c-{scenario[0]}{number:015x}",
        "scenario": scenario,
        "modality": "CT",
        "image_id": f"image{number}",
        "image_sha256": f"sha-{scenario}-{number // 2}",  # two samples a picture
        "rating": number % 6,
        **base,
        **changes,
    }
    return Item(**fields)


def image_of(item: Item) -> bytes:
    return image_data(sum(map(ord, item.image_sha256)), side=64)


def page_file(
    folder: Path,
    items: Sequence[Item],
    reviewer: str = "a",
    read: Callable[[Item], bytes] = image_of,
    **options: Any,
) -> Path:
    path = folder / "review.html"
    path.write_text(render_page(items, read, reviewer, "0123456789ab", **options), "utf-8")
    return path


class Reviewer:
    """Somebody at the page: whatever goes wrong or is fetched on it fails the test."""

    def __init__(self, context: BrowserContext, path: Path, guided: bool = True) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)  # a busy machine is slow
        self.troubles: list[str] = []
        self.asked: list[str] = []  # questions of the browser itself, such as before leaving
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda said: self.troubles.append(f"{said.type}: {said.text}"))
        self.page.on("request", self._request)
        self.page.on("dialog", self._dialog)
        self.path = path
        self.page.goto(path.as_uri())
        if guided:
            self.keys("Enter")
            self.page.wait_for_function("() => state.guided")  # it closes a moment later

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", self.path.as_uri())):
            self.troubles.append(f"asked for {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self.asked.append(dialog.type)
        dialog.accept()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.insert_text(text)

    def wait_for(self, name: str, text: str) -> None:
        script = "([id, text]) => document.getElementById(id).textContent === text"
        self.page.wait_for_function(script, arg=[name, text])

    def text(self, name: str) -> str:
        """What an element shows, without the words that only a listener gets."""
        script = """id => { const copy = document.getElementById(id).cloneNode(true);
            copy.querySelectorAll('.unheard, .value-kind').forEach(one => one.remove());
            return copy.textContent.trim(); }"""
        return str(self.page.evaluate(script, name))

    def open(self) -> str:
        """The id of the open dialog, or nothing."""
        return str(self.page.evaluate("document.querySelector('dialog[open]')?.id ?? ''"))

    def focus(self) -> str:
        return str(self.page.evaluate("document.activeElement.id"))

    def reload(self) -> None:
        """Load the page again, no faster than a hand and until it has what it kept: the browser
        stores that elsewhere, and on a busy machine a new page finds an older state for a while."""
        state = (
            "JSON.stringify([[...state.decisions], [...state.drafts], state.undo, state.guided])"
        )
        before = self.page.evaluate(state)
        for _ in range(20):
            self.page.wait_for_timeout(1000)
            self.page.reload()
            self.page.wait_for_function("document.hasFocus() && document.getElementById('answer')")
            if self.page.evaluate(state) == before:
                return

    def save_export(self, folder: Path) -> Path:
        with self.page.expect_download() as waiting:
            self.keys("x")
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path

    def exported(self, folder: Path) -> dict[str, Any]:
        return dict(json.loads(self.save_export(folder).read_text("utf-8")))
