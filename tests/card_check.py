"""Every number of a dataset's card, counted again from the folder by other code than the card's.

`problems` names each table that differs and each number in the prose that nothing here accounts
for. What is expected is written down as fragments of text with the numbers in them.
"""

import json
import re
from collections import Counter
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import yaml

SPLITS = ("forget", "retain", "test")
KINDS = {
    "name": "name",
    "phone": "telephone number",
    "email": "e-mail address",
    "address": "home address",
    "date": "date of an appointment",
    "mrn": "medical record number",
}
PAPER = {"privacy": "351 / 3,960 / 1,500", "incorrect": "300 / 3,000 / 1,500"}
#: Numbers that no data decide.
CONSTANTS = [
    "https://arxiv.org/abs/2508.04192",
    "https://creativecommons.org/licenses/by/4.0/",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "[CC BY 4.0]",
    "[CC0 1.0]",
    "https://github.com/ZwQ803/MM-Skin",
    "Liu et al. (2021)",
    "Zeng et al. (2025)",
    "The configs of about 10 % are",
    "compared by the sha256 of",
    "and the sha256 of every file",
    "rated its answer to each candidate from 1 to 5 by",
    ".5 is chance, 1 is always, with 95 % intervals.",
    "A logistic regression (C = 10, classes balanced)",
]

LEFTOVERS = re.compile(r"\bNone\b|\bnan\b|\[More|TODO|\{\w*\}|<[a-z]+ object|\b([a-z]+) \1\b")


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n", 2)[1])


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


class Folder:
    """What the files themselves hold."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.manifest = json.loads((folder / "provenance/manifest.json").read_text("utf-8"))
        self.recipe = self.manifest["recipe"]
        self.names = [name for name in ("privacy", "incorrect") if self.recipe[name]]
        self.configs: dict[str, dict[str, pd.DataFrame]] = {}
        for name in sorted(
            self.manifest["configs"], key=lambda name: (name[0] != "p", "_" in name, name)
        ):
            self.configs[name] = {
                split: pd.concat([self.frame(path) for path in paths], ignore_index=True)
                for split, paths in self.manifest["configs"][name].items()
            }

    @cached_property
    def tables(self) -> dict[tuple[str, ...], list[list[list[str]]]]:
        return expected_tables(self)

    @cached_property
    def fragments(self) -> list[str]:
        return fragments(self)

    def frame(self, path: str) -> pd.DataFrame:
        columns = [name for name in pq.read_schema(self.path / path).names if name != "image"]
        rows = pq.read_table(self.path / path, columns=columns).to_pylist()
        return pd.DataFrame(rows, columns=columns)

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.path / "provenance" / name
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def size(self, config: str) -> int:
        paths = {p for some in self.manifest["configs"][config].values() for p in some}
        return sum((self.path / path).stat().st_size for path in paths)


def tables(text: str) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    found: list[tuple[tuple[str, ...], list[list[str]]]] = []
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not before.startswith("|"):
            found.append((tuple(cells), []))
        elif not set("".join(cells)) <= set("-:"):
            found[-1][1].append(cells)
    return found


def percent(part: int, whole: int) -> str:
    return f"{round(1000 * part / whole) / 10:.1f} %" if whole else "-"


def size(count: int) -> str:
    value, unit = (count / 1e6, "MB") if count >= 1e6 else (count / 1e3, "kB")
    return f"{value:.{0 if value >= 100 else 1}f} {unit}"


def number(value: float) -> str:
    return f"{int(value):,}"


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def rows(count: int) -> str:
    return counted(count, "row")


def expected_tables(folder: Folder) -> dict[tuple[str, ...], list[list[list[str]]]]:
    """By head, the tables in the order of the card."""
    found: dict[tuple[str, ...], list[list[list[str]]]] = {}

    def add(head: str, rows: list[list[str]]) -> None:
        found.setdefault(tuple(head.split(" | ")), []).append(rows)

    sources = {"slake": "SLAKE", "mm_skin": "MM-Skin", "phantom": "Phantom images"}
    main = {name: folder.configs[name] for name in folder.names}
    images = {n: pd.concat(s.values())["image_sha256"].nunique() for n, s in main.items()}
    add(
        "part | source | forget | retain | test | images",
        [
            [f"`{n}`", sources[folder.recipe[n]["source"]]]
            + [number(len(sets[s])) for s in SPLITS]
            + [number(images[n])]
            for n, sets in main.items()
        ],
    )
    add(
        "config | forget ratio | forget | retain | test | download",
        [
            [f"`{n}`", f"{int(n[-2:]) if '_r' in n else 10} %"]
            + [number(len(sets[s])) for s in SPLITS]
            + [size(folder.size(n))]
            for n, sets in folder.configs.items()
        ],
    )
    for name in folder.names:
        add(
            "stage | what it does, or why it dropped rows | rows kept | dropped",
            stages(folder, name),
        )
    if "privacy" in main:
        forget = main["privacy"]["forget"]
        places = placed(forget)
        add(
            "private values stand in | forget rows | share",
            [
                [place, number(places[place]), percent(places[place], len(forget))]
                for place in ("question", "answer", "both")
            ],
        )
        add("kind of value | forget rows with it | in the question | in the answer", kinds(forget))
    if "incorrect" in main:
        forget = main["incorrect"]["forget"]
        add(
            "the answer is | forget rows | share",
            [[harm, number(n), percent(n, len(forget))] for harm, n in harms(forget).items()],
        )
    for sets in main.values():
        add("modality | forget | retain | test | share of all rows", by_set(sets, "modality"))
        add(
            "set | rows | images | closed questions | open questions",
            [
                [split, number(len(of)), number(of["image_sha256"].nunique())]
                + [number((of["answer_type"] == kind).sum()) for kind in ("closed", "open")]
                for split, of in ((split, sets[split]) for split in SPLITS)
            ],
        )
        if any(frame["content_type"].any() for frame in sets.values()):
            add(
                "kind of question | forget | retain | test | share of all rows",
                by_set(sets, "content_type"),
            )
        add(
            "words in | answers: mean | median | longest | questions: mean | median | longest",
            [
                [name, *spread(frame[prefix + "answer"]), *spread(frame[prefix + "question"])]
                for name, frame, prefix in texts(sets)
            ],
        )
    add(
        "scenario | forget rows | AUC against retain | its control | AUC against own clean text | "
        "length ratio | commonest wording | rows that leak in the answer",
        [wording(folder, name, sets["forget"]) for name, sets in main.items()],
    )
    add(
        "config | forget rows | of these on a retain image | images in both | "
        "test images in forget or retain",
        [[f"`{name}`", *shared(sets)] for name, sets in folder.configs.items()],
    )
    add(
        "package | version",
        [[n, folder.manifest["versions"][n]] for n in sorted(folder.manifest["versions"])],
    )
    rejected = [
        [f"`{name}`", note.removeprefix("texts rejected by check "), number(count)]
        for name in folder.names
        for stage in ("inject", "corrupt")
        for note, count in folder.manifest["stages"][name]
        .get(stage, {"notes": {}})["notes"]
        .items()
        if note.startswith("texts rejected by check ")
    ]
    if rejected:
        add("scenario | texts rejected by the check | times", rejected)
    rated = {name: folder.lines(f"{name}-ratings.jsonl") for name in folder.names}
    if any(rated.values()):
        ratings(rated, add)
    return found


def texts(sets: dict[str, pd.DataFrame]) -> list[tuple[str, pd.DataFrame, str]]:
    """The texts whose words are counted: what they are called, their rows and columns."""
    before = ("forget, before", sets["forget"], "clean_")
    return [("forget", sets["forget"], ""), before, *((s, sets[s], "") for s in SPLITS[1:])]


def harms(forget: pd.DataFrame) -> dict[str, int]:
    counts = Counter(forget["harm"].str.replace("_", " "))
    return {
        harm: counts[harm] for harm in ("wrong diagnosis", "outdated knowledge") if counts[harm]
    }


def stages(folder: Folder, name: str) -> list[list[str]]:
    drops = Counter((one["stage"], one["reason"]) for one in folder.lines(f"{name}-drops.jsonl"))
    order = "ingest draw profiles inject corrupt review calibrate split".split()
    told = folder.manifest["stages"][name]
    rows = []
    before: int | None = None
    for stage in (stage for stage in order if stage in told):
        mine = sorted(
            ((reason, n) for (at, reason), n in drops.items() if at == stage),
            key=lambda one: (-one[1], one[0]),
        )
        lost = sum(n for _, n in mine)
        kept = told[stage]["kept"] if before is None else before - lost
        before = kept
        first = number(kept)
        for reason, n in mine:
            rows.append([f"`{stage}`", reason, first, number(n)])
            first = ""
        if not mine:
            rows.append([f"`{stage}`", "*", first, "0"])
    return rows


def placed(forget: pd.DataFrame) -> Counter[str]:
    """Where private values stand."""
    fields = ({span["field"] for span in spans} for spans in forget["pii"])
    return Counter("both" if len(some) == 2 else next(iter(some)) for some in fields)


def kinds(forget: pd.DataFrame) -> list[list[str]]:
    rows = []
    for kind, words in KINDS.items():
        places = [{s["field"] for s in spans if s["kind"] == kind} for spans in forget["pii"]]
        counts = [
            sum(bool(one) for one in places),
            sum("question" in one for one in places),
            sum("answer" in one for one in places),
        ]
        if counts[0]:
            rows.append([words, *map(number, counts)])
    return rows


def wording(folder: Folder, name: str, forget: pd.DataFrame) -> list[str]:
    """What words tell; the classifier's figures are the manifest's, which the audit fits again."""
    stated = folder.manifest["text_quality"][name]
    figures = [stated[key] for key in ("against_retain", "control", "against_own")]
    fields = ["question", "answer"] if name == "privacy" else ["answer"]
    lengths = [
        sum(forget[before + field].str.split().str.len() for field in fields)
        for before in ("", "clean_")
    ]
    leaks = sum(any(span["field"] == "answer" for span in spans) for spans in forget["pii"])
    return [
        name,
        number(len(forget)),
        *(
            "too few rows" if f is None else "{value:.2f} ({low:.2f} to {high:.2f})".format(**f)
            for f in figures
        ),
        f"{(lengths[0] / lengths[1]).median():.2f}",
        f"{100 * stated['commonest_wording']:.1f} %",
        f"{100 * leaks / len(forget):.0f} %" if name == "privacy" else "-",
    ]


def by_set(sets: dict[str, pd.DataFrame], column: str) -> list[list[str]]:
    counts = {split: sets[split][column].value_counts() for split in SPLITS}
    every = pd.concat(sets.values())[column].value_counts()
    ordered = sorted(every.items(), key=lambda one: (-one[1], str(one[0])))
    return [
        [str(value) or "none"]
        + [number(counts[split].get(value, 0)) for split in SPLITS]
        + [percent(total, int(every.sum()))]
        for value, total in ordered
    ]


def spread(texts: pd.Series) -> list[str]:
    words = texts.str.split().str.len()
    return [f"{words.mean():.1f}", f"{words.median():g}", number(words.max())]


def shared(sets: dict[str, pd.DataFrame]) -> list[str]:
    forget, retain, test = (sets[split]["image_sha256"] for split in SPLITS)
    seen = pd.concat([forget, retain])
    return [
        number(len(forget)),
        number(forget.isin(retain).sum()),
        number(forget[forget.isin(retain)].nunique()),
        number(test[test.isin(seen)].nunique()),
    ]


def ratings(rated: dict[str, list[dict[str, Any]]], add: Any) -> None:
    unrated = any(row["rating"] == 0 for rows in rated.values() for row in rows)
    head = ["candidates rated", "5", "4", "3", "2", "1", *(["none"] if unrated else [])]
    lines = []
    for name, rows in rated.items():
        groups = sorted({row["placement"] or row["harm"] for row in rows})
        for group in [*groups, "all"]:
            some = [r for r in rows if group in ("all", r["placement"] or r["harm"])]
            counts = Counter(row["rating"] for row in some)
            numbers = [counts[rating] for rating in (5, 4, 3, 2, 1, *([0] if unrated else []))]
            real = [row["rating"] for row in some if row["rating"]]
            kept = sum(row["kept"] for row in some)
            lines.append(
                [
                    f"{name}: {group.replace('_', ' ')}",
                    *map(number, numbers),
                    f"{sum(real) / len(real):.2f}" if real else "-",
                    number(kept),
                    number(len(some) - kept),
                ]
            )
    add(" | ".join([*head, "mean", "kept", "dropped"]), lines)


def fragments(folder: Folder) -> list[str]:
    """Pieces of prose with their numbers."""
    manifest, recipe = folder.manifest, folder.recipe
    main = {name: folder.configs[name] for name in folder.names}
    found = [*CONSTANTS, f"`{manifest['build']}`", f"seed {recipe['seed']},"]
    found += [f"of mllmu-med {version('mllmu-med')}"]
    found += [f"config `{name}`" for name in folder.configs]
    rounds, modalities, medians = [], [], []
    for name, sets in main.items():
        forget = sets["forget"]
        parts = [number((forget["round"] == r).sum()) for r in (1, 2, 3)]
        rounds.append(f"that of `{name}` into {parts[0]}, {parts[1]} and {parts[2]} rows")
        first = forget.loc[forget["rank"].idxmin()]
        found.append(f"`{first['id']}`: {first['modality']}, harm `{first['harm']}`.")
        harmful = len(folder.configs.get(f"{name}_r30", sets)["forget"])
        scenario = recipe[name]
        candidates = -(-scenario["candidates"] * harmful // scenario["forget"])
        found.append(f"asks for {candidates:,} candidates for {harmful:,} harmful rows.")
        sizes = " / ".join(number(len(sets[split])) for split in SPLITS)
        if sizes != PAPER[name]:
            found.append(f"`{name}` has {sizes} rows, the paper {PAPER[name]}.")
        on_retain = shared(sets)[1]
        verb = "row is" if on_retain == "1" else "rows are"
        found.append(f"`{name}`: {on_retain} forget {verb} about an image that")
        unknown = (pd.concat(sets.values())["modality"] == "unknown").sum()
        found.append(f"the modality of {rows(unknown)}.")
        if unknown < sum(map(len, sets.values())):
            shares = [f"{row[0]} {row[-1]}" for row in by_set(sets, "modality")]
            modalities.append(f"{name}: {joined(shares)}")
        words = [f"{label} {spread(of[at + 'answer'])[1]}" for label, of, at in texts(sets)]
        medians.append(f"{name}: {joined(words)}")
    found.append(f"cuts the forget set in three: {joined(rounds)}.")
    found.append(f"All sets together, {'; '.join(modalities)}.]")
    found.append(f"Medians, {'; '.join(medians)}.]")
    if "privacy" in main:
        found += private(folder)
    if "incorrect" in main:
        share = recipe["incorrect"]["outdated_share"]
        if share:
            found.append(f"or, for at most {100 * share:.0f} % of the candidates,")
        forget = main["incorrect"]["forget"]
        counts = [f"{harm} {number(n)}" for harm, n in harms(forget).items()]
        found.append(f"the {len(forget):,} forget rows of incorrect: {joined(counts)}.]")
        talk = manifest["stages"]["incorrect"]["ingest"]["notes"]
        count = talk.get("refusals or about the conversation", 0)
        found.append(f"In {rows(count)} of those read from MM-Skin")
    if recipe["calibration"]:
        told = []
        for name in folder.names:
            some = folder.lines(f"{name}-ratings.jsonl")
            counts = Counter((row["rating"], row["kept"]) for row in some)
            each = [
                f"rating {r or 'none'}: {counts[r, True]:,} kept, {counts[r, False]:,} dropped"
                for r in (5, 4, 3, 2, 1, 0)
                if counts[r, True] + counts[r, False]
            ]
            told.append(f"{name}: {', '.join(each)}")
        found.append(f"kept and dropped. {'; '.join(told)}.]")
        found.append(f"none rated below {recipe['calibration']['least']};")
    return found


def private(folder: Folder) -> list[str]:
    forget = folder.configs["privacy"]["forget"]
    shares = folder.recipe["privacy"]["placements"]
    people = folder.lines("profiles.jsonl")
    values = {one[kind] for one in people for kind in KINDS}
    text = "\n".join(
        f"{question}\n{answer}"
        for sets in folder.configs.values()
        for split in ("retain", "test")
        for question, answer in zip(sets[split]["question"], sets[split]["answer"], strict=True)
    ).casefold()
    leaked = sum(value.casefold() in text for value in values)
    stand = {0: "none occurs", 1: "1 occurs"}.get(leaked, f"{leaked:,} occur")
    met = forget["profile_id"].value_counts()
    places = placed(forget)
    each = [f"{row[0]} {row[1]}" for row in kinds(forget)]
    number_of = counted(len(people), "fictional patient")
    return [
        f"{100 * shares['question']:.0f} % into the question, {100 * shares['answer']:.0f} % into "
        f"the answer and {100 * shares['both']:.0f} % into both",
        f"the {len(forget):,} forget rows of privacy. Place of the private values: question "
        f"{places['question']:,}, answer {places['answer']:,}, both {places['both']:,}.",
        f"Rows with each kind of value: {joined(each)}.]",
        f"`privacy`: {rows(len(forget))} of {counted(len(met), 'fictional patient')}, "
        f"at most {rows(met.max())} of one.",
        f"Of the {len(values):,} values of the {number_of}, {stand} in",
        f"All {number_of}, including those of",
    ]


def joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


#: Tables whose cells are words (with numbers that no data decide), or texts of rows.
WORDS = {
    ("column", "type", "what it holds"),
    ("kind of value", "range it comes from"),
    ("", "before", "in `forget`"),
    ("for", "input", "sha256"),
    ("rating", "id", "truth", "output"),
}


def problems(folder: Folder, card: str, more: list[str] | None = None) -> list[str]:
    """What is wrong with the numbers of a card; `more`: fragments that this case has besides."""
    text = re.sub(r"```.*?```", "", body(card), flags=re.DOTALL)
    found = []
    expected = {head: list(some) for head, some in folder.tables.items()}
    for head, rows in tables(text):
        if head in WORDS:
            continue
        wanted = expected.get(head)
        if not wanted:
            found.append(f"a table that is not expected: {head}")
            continue
        right = wanted.pop(0)
        same = len(right) == len(rows) and all(
            len(a) == len(b) and all(y in ("*", x) for x, y in zip(a, b, strict=True))
            for a, b in zip(rows, right, strict=True)
        )
        if not same:
            found.append(f"{head}: {rows} instead of {right}")
    found += [f"no table {head}" for head, left in expected.items() if left]
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    for fragment in sorted([*folder.fragments, *(more or [])], key=len, reverse=True):
        prose = prose.replace(fragment, "")
    found += [f"unaccounted: {line}" for line in prose.splitlines() if re.search(r"\d", line)]
    return found


def reads_well(card: str) -> None:
    """No leftovers, no empty section, every plot with words for who cannot see it."""
    text = re.sub(r"```.*?```", "code", body(card), flags=re.DOTALL)
    assert not LEFTOVERS.search(text), LEFTOVERS.search(text)
    assert not re.search(r"^(#+) .*\n+(?=\1 |\Z)", text, re.MULTILINE), "an empty section"
    assert not re.search(r"\n\n\n", card), "two empty lines"
    assert not re.search(r"(?<!and )\b1 (?:rows|patients|candidates|values|replies)\b", text)
    assert not re.search(r"(?<![\d,.a-f/-])\d{4,}(?![\d,.a-f-])", prose(text)), "1000 for 1,000"
    for alt, _ in re.findall(r"!\[(.*?)\]\((.*?)\)", text):
        assert len(alt) > 40


def prose(text: str) -> str:
    """Without links, code, dates and years, which have no thousands separator."""
    text = re.sub(r"\(https?://\S+\)|`[^`]*`|\(\d{4}\)|\w+ \d+, \d{4}", "", text)
    return re.sub(r"RFC \d+|\b[0-9a-f]{12,}\b|555-\d{4}", "", text)
