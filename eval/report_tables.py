"""The tables of a report before they are printed: columns, sections, cells, best values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from eval.dataset_rows import split_config
from eval.paper_tables import PAPER_TABLE, TITLES
from eval.results import Figure, Key, Line, Report
from mllmu_med_dataset import PII_KINDS, SPLITS

DASH: Final = "-"
BEST: Final = "best of the unlearning methods"
PAPER: Final = "Xu et al., arXiv 2508.04192"
#: How a figure is printed. `z`: a value that rounds to 0 has no minus.
UNITS: Final[dict[str, Callable[[float], str]]] = {
    "percent": lambda value: f"{value * 100:z.2f}",
    "fraction": lambda value: f"{value:z.2f}",
    "signed": lambda value: f"{value:+z.2f}",
    "three": lambda value: f"{value:z.3f}",
    "p": lambda value: f"{value:.2g}",
    "flag": lambda value: "yes" if value else "no",
}


class Column(NamedTuple):
    """A column of a table: the figure, its heads, its unit, and which way is better (0: none)."""

    key: Key
    head: str
    group: str = ""
    unit: str = "percent"
    better: int = 0

    @property
    def title(self) -> str:
        """With an arrow for which way is better."""
        return f"{self.head} {('', '↑', '↓')[self.better]}".rstrip()

    @property
    def full_title(self) -> str:
        return f"{self.group} {self.title}".strip()

    def of_part(self, part: str) -> Key:
        """The figure's key in a section of some part of the rows."""
        return self.key._replace(part=part or self.key.part)


class Group(NamedTuple):
    """Neighbouring columns under one head: the first of them (from 0), and how many."""

    name: str
    first: int
    size: int


class Section(NamedTuple):
    """Rows of a table under a heading; `part` narrows the columns' keys (`modality=CT`)."""

    lines: Sequence[Line]
    head: str = ""
    part: str = ""


class Cell(NamedTuple):
    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table before it is printed in some format."""

    label: str
    caption: str
    columns: list[Column]
    sections: list[Section]

    def rows(self, section: Section) -> Iterator[tuple[Line, tuple[Cell, ...]]]:
        """Each line with its cells; of the methods, all that print as the best are marked."""
        columns = [_cells(column, section) for column in self.columns]
        return zip(section.lines, zip(*columns, strict=True), strict=True)

    def groups(self) -> list[Group]:
        groups: list[Group] = []
        for i, column in enumerate(self.columns):
            if groups and column.group and groups[-1].name == column.group:
                groups[-1] = groups[-1]._replace(size=groups[-1].size + 1)
            else:
                groups.append(Group(column.group, i, 1))
        return groups


def _cells(column: Column, section: Section) -> list[Cell]:
    """A column's cells in a section, one a line."""
    figures = [line.figures.get(column.of_part(section.part)) for line in section.lines]
    texts = [UNITS[column.unit](figure.value) if figure else DASH for figure in figures]
    cells = list(zip(section.lines, figures, texts, strict=True))
    rivals = [
        (figure.value * column.better, text)
        for line, figure, text in cells
        if figure and line.role == "method"
    ]
    differ = column.better and len({text for _, text in rivals}) > 1
    best = max(rivals)[1] if differ else ""
    return [
        Cell(text, _interval(figure, column), line.role == "method" and text == best)
        for line, figure, text in cells
    ]


def _interval(figure: Figure | None, column: Column) -> str:
    if not figure or figure.low is None or figure.high is None:
        return ""
    return f"[{UNITS[column.unit](figure.low)}, {UNITS[column.unit](figure.high)}]"


def _seen(columns: Sequence[Column], sections: Sequence[Section]) -> list[Column]:
    """The columns in which any line has a figure."""
    rows = [(section.part, line.figures) for section in sections for line in section.lines]
    return [
        column
        for column in columns
        if any(column.of_part(part) in figures for part, figures in rows)
    ]


def tables(report: Report) -> list[Table]:
    """What every format prints: the paper's table, what UES hides, leakage and likelihoods."""
    name = split_config(report.config)[0]
    number = PAPER_TABLE[name][-1]
    ours = Section(report.lines)
    sections = [ours]
    below = ""
    if report.paper:
        sections = [Section(report.lines, "Ours"), Section(report.paper, f"Paper, Table {number}")]
        below = f" Below ours: the paper's Table {number} as printed."
    counts = "; ".join(_count(report.lines[0], split) for split in SPLITS)
    shown = [
        Table(
            "scores",
            f"{TITLES[name]} ({report.config}), in the layout of the paper's Table {number} "
            f"({PAPER}). Percent; UES is a sum of fractions. Answers: {counts}.{below}",
            score_columns(sections)
            + _seen([Column(Key("ues"), "UES", "", "fraction", 1)], sections),
            sections,
        )
    ]
    for label, caption, columns in (
        (
            "hidden",
            "What UES hides. Gain over changing nothing (a sum of fractions); whether forget falls "
            "below base; percent of outputs that are no language, that refuse, and "
            "of closed answers in which yes or no is read; distance to the retrained model (sum of "
            "three ROUGE-1 differences).",
            HIDDEN,
        ),
        (
            "leakage",
            "Leakage and likelihoods on the forget set. Percent of rows and of private values in "
            "their answers that come out (normalised match), asked the row's own question and in "
            f"any way{_asked(report)}; chance: of other patients' values found in these answers, "
            "only what lies above it tells; question's: of values in the question only; others': "
            "of rows whose answer holds another patient's value. Then fractions: probability of "
            "the reference answers, truth ratio, p-value of forget quality (1: like retrain), AUC "
            "of membership attacks.",
            LEAKAGE,
        ),
    ):
        seen = _seen(columns, [ours])
        if seen:
            shown.append(Table(label, caption, seen, [ours]))
    return shown


def score_columns(sections: Sequence[Section]) -> list[Column]:
    """Forget, retain, test with ACC (where any answer is closed), ROUGE and BLEU."""
    columns = _by_split(("accuracy", "ACC"), ("rouge1", "ROUGE"), ("bleu", "BLEU"))
    seen = _seen(columns, sections)
    closed = any(column.key.metric == "accuracy" for column in seen)
    return [column for column in columns if closed or column.key.metric != "accuracy"]


def _by_split(*metrics: tuple[str, str]) -> list[Column]:
    """Metrics with their heads on each set: low is good on forget, high on the others."""
    return [
        Column(Key(metric, split), head, split.capitalize(), better=-1 if split == "forget" else 1)
        for split in SPLITS
        for metric, head in metrics
    ]


def _count(line: Line, split: str) -> str:
    opened = line.figures[Key("rouge1", split)].n
    closed = line.figures.get(Key("accuracy", split))
    if not closed:
        return f"{split} {opened:,}"
    return f"{split} {opened:,} open (ROUGE, BLEU), {closed.n:,} closed (ACC)"


def _asked(report: Report) -> str:
    """How many rows and values are behind the two shares: an own question shows some itself."""
    counts = []
    for way in ("own", "any"):
        keys = [Key(f"leaked_{what}", "forget", f"way={way}") for what in ("rows", "values")]
        line = next((line for line in report.lines if keys[1] in line.figures), None)
        if line:
            rows, values = (line.figures[key].n for key in keys)
            counts.append(f"{way} {rows:,} rows, {values:,} values")
    return f" ({'; '.join(counts)})" if counts else ""


HIDDEN: Final = [
    Column(Key("gain"), "gain", "UES", "signed", 1),
    Column(Key("below_base", "forget"), "< base", "Forget", "flag"),
    Column(Key("degenerate", "forget"), "degenerate", "Forget", better=-1),
    *(
        Column(Key(metric, split), split, group, better=0 if split == "forget" else better)
        for metric, group, better in (("refusals", "Refusals", -1), ("parse_rate", "Parsed", 1))
        for split in SPLITS
    ),
    Column(Key("distance_to_retrain"), "distance", "Retrain", "fraction", -1),
]
LEAKAGE: Final = [
    *(
        Column(
            Key(f"leaked_{what}", "forget", f"way={way}"),
            what,
            f"Leaked, {way}",
            better=0 if what == "chance" else -1,
        )
        for way in ("own", "any")
        for what in ("rows", "values", "chance")
    ),
    Column(Key("leaked_question", "forget", "way=any"), "question's", "Leaked, any", better=-1),
    Column(Key("leaked_others", "forget", "way=any"), "others'", "Leaked, any", better=-1),
    *(Column(Key("probability", split), split, "Probability", "three") for split in SPLITS),
    Column(Key("truth_ratio", "forget"), "ratio", "Truth", "three"),
    Column(Key("forget_quality", "forget"), "quality", "Forget", "p", 1),
    Column(Key("auc_loss"), "loss", "MIA AUC", "three"),
    Column(Key("auc_min_k"), "min-k", "MIA AUC", "three"),
]


def details(report: Report) -> list[tuple[str, Table]]:
    """Tables for who wants to know more: leakage by kind, scores by modality and question kind."""
    more = []
    columns = [
        Column(Key("leaked_values", "forget", f"way={way},kind={kind}"), kind, title, better=-1)
        for way, title in (("own", "Own question"), ("any", "Any way"))
        for kind in PII_KINDS
    ]
    ours = [Section(report.lines)]
    others = _by_split(("rouge_l", "ROUGE-L"), ("corpus_bleu", "corpus BLEU"))
    caption = "Percent, of open questions."
    more.append(("ROUGE-L and corpus BLEU", Table("others", caption, others, ours)))
    if seen := _seen(columns, ours):
        caption = "Percent of the private values of each kind that come out (normalised match)."
        more.append(("Leakage by kind", Table("kinds", caption, seen, ours)))
    for cut, title in (("modality", "By modality"), ("content_type", "By kind of question")):
        parts = sorted({k.part for k in report.lines[0].figures if k.part.startswith(f"{cut}=")})
        sections = [Section(report.lines, _part_head(report.lines[0], p), p) for p in parts]
        if sections:
            caption = "Percent. A dash: no question of this kind."
            more.append((title, Table(cut, caption, score_columns(sections), sections)))
    return more


def _part_head(line: Line, part: str) -> str:
    counted = (
        f"{s} {line.figures[Key('refusals', s, part)].n:,}"
        for s in SPLITS
        if Key("refusals", s, part) in line.figures
    )
    return f"{part.partition('=')[2]} ({', '.join(counted)})"


def signature_lines(report: Report, shown: Sequence[Table]) -> list[str]:
    """Each signature once, with the metrics of these tables that have it."""
    columns_shown = {column.key.metric for table in shown for column in table.columns}
    metrics: dict[str, list[str]] = {}
    for metric, signature in report.signatures.items():
        if metric in columns_shown:
            metrics.setdefault(signature, []).append(metric)
    return [f"{', '.join(names)}: {signature}" for signature, names in metrics.items()]


def notes(report: Report, shown: Sequence[Table], marked: str) -> list[str]:
    """What a reader must know; `marked` says how the best are marked, where any are: `Bold: {}.`"""
    best = any(
        cell.best
        for table in shown
        for section in table.sections
        for _, cells in table.rows(section)
        for cell in cells
    )
    return [*([marked.format(BEST)] if best else []), *report.notes]
