"""Makes the real Label Studio exports in tests/data, and names the texts behind them.

They were made by Label Studio 1.23.2 (`pip install label-studio`, in an environment of its own;
needs this project's `test` extra, and Chromium on the path):

    LABEL_STUDIO_BASE_DATA_DIR=$(mktemp -d) COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false \\
        label-studio start --no-browser --internal-host 127.0.0.1 --port 18080
    PYTHONPATH=. python tests/labelstudio_export.py http://127.0.0.1:18080

Two reviewers sign up and decide in the real labelling page. The files are kept as they come.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from corpora import record

from builder.review.labelstudio import CONFIG, tasks
from builder.review.records import Item, item

DATA = Path(__file__).parent / "data"
REVIEWERS = ("a@example.com", "b@example.com")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB"
    "d81ytgAAAABJRU5ErkJggg=="
)
TEXTS = (
    "What is seen in this picture?",
    "Is this a plain text?",
    '<script>window.ran = 1</script><img src=x onerror="window.ran = 1">',
    "quotes \"double\" 'single' `back` </Text> &amp; &lt;b&gt; \\n \\",
    "right to left \u202eabc\u202c שלום مرحبا",
    "line one\nline two\n\n  line four\n",
    "emoji 👩🏽‍⚕️🫁 and $question $picture $& $1 {{answer}} {question} ${answer}",
    "=1+1",
    "$answer",
    '{"a": [1]}',
)


def _item(number: int, text: str) -> Item:
    harm = ("wrong_diagnosis", "outdated_knowledge")[number % 2]
    about = {"source": "phantom", "harm": harm, "clean_answer": f"{text} A mass."}
    about |= {"image_path": f"{number:02}.png", "image_sha256": f"{number:064}"}
    ids = (f"sample-{number:02}", f"image-{number:02}")
    return item(record(text, f"{text} A benign cyst.", *ids, **about), "incorrect", number % 6)


ITEMS = tuple(_item(number, text) for number, text in enumerate(TEXTS))


class Reviewer:
    """One person in a browser: what they press, and what the server says of it."""

    def __init__(self, browser: Any, server: str, email: str) -> None:
        self.server = server
        self.context = browser.new_context(viewport={"width": 1400, "height": 950})
        self.page = self.context.new_page()
        self.page.goto(f"{server}/user/signup/")
        self.page.fill("[name=email]", email)
        self.page.fill("[name=password]", f"password of {email}")
        self.page.click("[type=submit]")
        self.page.wait_for_load_state("networkidle")

    def call(self, method: str, path: str, data: Any = None) -> Any:
        token = {one["name"]: one["value"] for one in self.context.cookies()}["csrftoken"]
        reply = self.context.request.fetch(
            self.server + path,
            method=method,
            headers={"X-CSRFToken": token, "Content-Type": "application/json"},
            data=None if data is None else json.dumps(data),
        )
        assert reply.ok, (path, reply.status, reply.text())
        return reply.json()

    def open(self, address: str) -> None:
        self.page.goto(self.server + address)
        self.page.wait_for_selector("text=Answer to review")
        self.page.wait_for_timeout(1000)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(300)

    def type_in(self, field: int, text: str) -> None:
        """Add to the end of a text field: 0 question, 1 answer, 2 note (0 unless editing)."""
        self.page.locator("textarea:visible").nth(field).click()
        self.press("Control+End")
        self.page.keyboard.type(text)
        self.press("Tab")  # a change counts when the field is left

    def click(self, button: str) -> None:
        with self.page.expect_response(lambda reply: "/annotations" in reply.url):
            self.page.click(f"button:has-text('{button}') >> nth=0")
        self.page.wait_for_timeout(1500)


def decide(first: Reviewer, second: Reviewer, project: int) -> None:
    ids = [task["id"] for task in first.call("GET", f"/api/tasks?project={project}")["tasks"]]

    def open_task(number: int) -> None:
        first.open(f"/projects/{project}/data?task={ids[number]}")

    first.open(f"/projects/{project}/data?labeling=1")
    first.click("Skip")
    open_task(1)
    first.press("a")
    first.click("Submit")
    open_task(2)
    first.press("r", "1", "4")
    first.type_in(0, "a note, read as text: are 1 2 3")
    first.click("Submit")
    for number in (3, 4, 5):
        open_task(number)
        first.press("e")
        first.type_in(1, " are 1 2 3")
        first.click("Submit")
    open_task(6)  # accepted, then edited after all
    first.press("a")
    first.click("Submit")
    first.press("e")
    first.type_in(0, " and so on")
    first.click("Update")
    first.type_in(1, " and on")
    first.click("Update")
    open_task(7)  # edited, then rejected: the edited texts must be gone
    first.press("e")
    first.type_in(1, " gone")
    first.click("Submit")
    first.page.click("text=Reject")
    first.press("2")
    first.click("Update")
    open_task(8)  # left as a draft
    with first.page.expect_response(lambda reply: "/drafts" in reply.url):
        first.press("r", "3")
    assert first.page.evaluate("window.ran") is None

    second.open(f"/projects/{project}/data?labeling=1")
    for keys in (("a",), ("a",), ("r", "1")):
        second.press(*keys)
        second.click("Submit")
    second.call("POST", f"/api/tasks/{ids[9]}/annotations/", {"result": []})


def main(server: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        first, second = (Reviewer(browser, server, email) for email in REVIEWERS)
        settings = {"title": "review", "label_config": CONFIG, "maximum_annotations": 2}
        project = first.call("POST", "/api/projects", settings)["id"]
        first.call("POST", f"/api/projects/{project}/import", tasks(ITEMS, lambda _: PIXEL))
        decide(first, second, project)
        export = f"/api/projects/{project}/export?download_all_tasks=true&exportType="
        snapshots = f"/api/projects/{project}/exports/"
        people = {"annotations__completed_by": {"only_id": False}}
        made = first.call("POST", snapshots, {"serialization_options": people})["id"]
        for name, value in (
            ("labelstudio-export.json", first.call("GET", f"{export}JSON")),
            ("labelstudio-export-min.json", first.call("GET", f"{export}JSON_MIN")),
            ("labelstudio-snapshot.json", first.call("GET", f"{snapshots}{made}/download")),
        ):
            text = json.dumps(value, indent=1, ensure_ascii=False)
            (DATA / name).write_text(text + "\n", "utf-8")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
