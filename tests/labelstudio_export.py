"""The texts behind the real Label Studio exports in tests/data.

They were made by Label Studio 1.23.2 and are kept as they came: `tasks(ITEMS, ...)` in a project
with `CONFIG`, two reviewers in the labelling page. What they decided, submitted, is in
test_builder_review_labelstudio.py; besides, the first skipped task 0, edited task 6 after accepting
it, rejected task 7 after editing it, and left task 8 as a draft; the second sent task 9 empty. The
snapshot is of `/exports/` with `annotations__completed_by: {only_id: false}`.
"""

from pathlib import Path

from corpora import record

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
