"""The tables of a report before they are printed: columns, sections, cells, what each figure is.

A table is a choice of figures; which columns are shown depends on which figures there are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from eval.dataset_rows import split_config
from eval.learnt import CUT
from eval.metric_names import METRICS, UES, UNITS, WORDS
from eval.paper_tables import PAPER_TABLE
from eval.references import ORACLE
from eval.results import BROKEN, ROLES, Figure, Key, Line, Report
from mllmu_med_dataset import SPLITS

DASH: Final = "-"
DAGGER: Final = "†"
#: Behind a PrivLeak whose interval lies above 0.
AVOIDED: Final = "‡"
_HARM: Final = "harm="
_UNMODELLED: Final = "Without a model"
#: Tables of what is weighed.
_WEIGHED: Final = {
    "likelihood": "Likelihoods",
    "memorisation": "Memorisation",
    "membership": "Membership",
    "damage": "Utility and damage",
}
WAYS: Final = {"own": "Same question", "any": "Any of five ways"}


class Column(NamedTuple):
    """A column of a table: the figure, the group of columns, and which way is better."""

    key: Key
    group: str = ""
    head: str = ""

    @property
    def better(self) -> int:
        aside = self.key.cut == f"{_HARM}private question"
        return 0 if aside else METRICS[self.key.metric].direction(self.key.split)

    @property
    def name(self) -> str:
        return self.head or METRICS[self.key.metric].head

    @property
    def title(self) -> str:
        """With an arrow for which way is better."""
        return f"{self.name} {('', '↑', '↓')[self.better]}".rstrip()

    @property
    def full_title(self) -> str:
        return f"{self.group} {self.title}".strip()


class Group(NamedTuple):
    """Neighbouring columns under one head: the first of them (from 0), and how many."""

    name: str
    first: int
    size: int


class Section(NamedTuple):
    """Rows of a table under a heading; `cut` narrows the columns' keys (`modality=CT`)."""

    lines: Sequence[Line]
    head: str = ""
    cut: str = ""


class Cell(NamedTuple):
    text: str
    interval: str = ""
    best: bool = False


class Row(NamedTuple):
    label: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """One table before it is printed in some format."""

    label: str
    title: str
    caption: str
    columns: list[Column]
    sections: list[Section]
    #: How our runs are called here; default: by their labels.
    labels: dict[str, str] = field(default_factory=dict)
    #: What a row is, in its column's head.
    of: str = "run"

    def rows(self, section: Section, intervals: bool = True) -> Iterator[Row]:
        """How many items each figure is of, then each run's cells."""
        keys = [self.key(column, section) for column in self.columns]
        counts = [_counted(section.lines, key) for key in keys]
        if any(counts):
            yield Row("n", [Cell(f"{n:,}" if n else "") for n in counts])
        for line in section.lines:
            counted = zip(keys, counts, strict=True)
            cells = [_cell(line.figures.get(key), n, intervals) for key, n in counted]
            ours = all(figure.source == "ours" for figure in line.figures.values())
            yield Row(self.labels.get(line.run, line.label) if ours else line.label, cells)

    def key(self, column: Column, section: Section) -> Key:
        return column.key._replace(cut=section.cut or column.key.cut)

    def groups(self) -> list[Group]:
        groups: list[Group] = []
        for i, column in enumerate(self.columns):
            if groups and column.group and groups[-1].name == column.group:
                groups[-1] = groups[-1]._replace(size=groups[-1].size + 1)
            else:
                groups.append(Group(column.group, i, 1))
        return groups

    def glossary(self) -> list[tuple[str, str]]:
        """What each metric is, under the heads of its columns."""
        metrics = dict.fromkeys(column.key.metric for column in self.columns)
        return [(self._heads(metric), METRICS[metric].says) for metric in metrics]

    def _heads(self, metric: str) -> str:
        """One head that its columns share and no other has; else the heads of all."""
        own = [column for column in self.columns if column.key.metric == metric]
        others = {c.group for c in self.columns if c.key.metric != metric}
        if len({column.name for column in own}) == 1:
            return f"{own[0].group * bool(own[0].head and not own[1:])} {own[0].name}".strip()
        names = (c.group if c.group and c.group not in others else c.name for c in own)
        return ", ".join(dict.fromkeys(names))

    @property
    def has_best(self) -> bool:
        return any(cell.best for s in self.sections for row in self.rows(s) for cell in row.cells)


def _counted(lines: Sequence[Line], key: Key) -> int:
    """The n that most runs have."""
    each = [line.figures[key].n for line in lines if key in line.figures]
    return max(each, key=lambda n: (each.count(n), n), default=0)


def _cell(figure: Figure | None, n: int, intervals: bool) -> Cell:
    """A dash where there is no such figure, or one of other items than the other runs'."""
    if not figure or (figure.n != n and figure.role != "figure"):
        return Cell(DASH)
    show = UNITS[METRICS[figure.metric].unit]
    spread = f"±{show(figure.sd).lstrip('+')}" if figure.sd is not None else ""
    text, limits = f"{show(figure.value)}{spread}", ""
    if intervals and figure.low is not None and figure.high is not None:
        limits = f"[{show(figure.low)}, {show(figure.high)}]"
    if figure.versus and figure.low is not None and figure.high is not None:
        sign = "+" if figure.value > 0 and not text.startswith("+") else ""
        return Cell(f"{sign}{text}", limits, figure.low > 0 or figure.high < 0)
    mark = f" {AVOIDED}" if is_avoided(figure) else ""
    return Cell(text + mark, limits, bool(figure.mark))


def is_avoided(figure: Figure) -> bool:
    """Whether an attack tells forget rows less often than the retrained model's: a trace, too."""
    return figure.metric.startswith("privleak_") and (figure.low or 0) > 0


def left_out(figures: Mapping[Key, Figure]) -> list[str]:
    """Which forget rows of a run have no multiple choice."""
    weighed, asked = (figures.get(Key(m, "forget")) for m in ("probability", "choice"))
    without = weighed.n - (asked.n if asked else 0) if weighed else 0
    why = "forget rows have no three other answers to choose from: left out of choice"
    return [f"{without:,} of {weighed.n:,} {why}."] if weighed and without else []


def seen(columns: Iterable[Column], sections: Sequence[Section]) -> list[Column]:
    """The columns in which any line has a figure."""
    held = [(section.cut, line.figures) for section in sections for line in section.lines]
    return [
        column
        for column in columns
        if any(column.key._replace(cut=cut or column.key.cut) in figures for cut, figures in held)
    ]


def table_of(
    label: str,
    title: str,
    text: str,
    columns: list[Column],
    sections: list[Section],
    of: str = "run",
) -> Table:
    """A table with the columns in which any line has a figure."""
    return Table(label, title, text, seen(columns, sections), sections, of=of)


def by_split(*metrics: str) -> list[Column]:
    return [Column(Key(name, split), split.capitalize()) for split in SPLITS for name in metrics]


def _columns(table: str) -> list[Column]:
    """Those that `report_tables.yaml` lists, one for each split."""
    return [
        Column(
            Key(entry["metric"], split, entry.get("cut", ""), entry.get("way", "")),
            entry.get("group", ""),
            entry.get("head", split),
        )
        for entry in WORDS["columns"][table]
        for split in entry["splits"]
    ]


def tables(report: Report) -> list[Table]:
    """What every format prints: the paper's table, what UES hides, leakage and likelihoods."""
    models, answered = report.lines("ours", *ROLES[:-1]), report.lines("ours", "reference")
    name = split_config(report.config)[0]
    number = PAPER_TABLE.get(name, "table1")[-1]
    layout = f"in the layout of the paper's Table {number} (Xu et al., arXiv 2508.04192)"
    caption = f"{WORDS['titles'][name]} ({report.config}), {layout}. {WORDS['roles']}"
    ours = [Section(models), *([Section(answered, _UNMODELLED)] if answered else [])]
    scores = ours
    if printed := report.lines("paper"):
        scores = [*ours, Section(printed, f"Paper, Table {number}, as printed")]
    labels = {line.run: f"{line.label} {DAGGER}" for line in models if line.is_broken}

    def table(label: str, title: str, text: str, columns: list[Column], *at: Section) -> Table:
        sections = list(at) or [Section(models)]
        chosen = seen(columns, sections)
        if any(column.key.metric in ("ues", "gain") for column in chosen):
            text = f"{text} {ues_in_words(report)}"
        heads = sections if label in ("scores", "parts") else sections[:1]
        kept = [s for s in heads if any(c.key in row.figures for row in s.lines for c in chosen)]
        return Table(label, title, text, chosen, kept, labels)

    made = [
        table("scores", "Scores", caption, [*score_columns(ours), Column(Key("ues"))], *scores),
        table("parts", "The forget set in parts", WORDS["parts"][name], _parts(report), *ours),
        table("hidden", "What UES hides", WORDS["hidden"], _columns("hidden")),
        table("leakage", "Leakage", WORDS["leakage"], _leakage(models)),
        table("learnt", "Learnt before forgotten", WORDS["learnt"], _learnt(models)),
        *(table(name, title, WORDS[name], _columns(name)) for name, title in _WEIGHED.items()),
    ]
    return [each for each in made if each.columns]


def ues_table(report: Report) -> Table:
    """UES with its terms, its gain and what is subtracted in it."""
    terms = [Column(Key("rouge1", split), "ROUGE", split) for split in ("retain", "test", "forget")]
    costs = [Column(Key(f"{split}_penalty"), "Penalties") for split in ("retain", "test", "forget")]
    sections = [
        Section(report.lines("ours", *ROLES[1:-1])),
        Section(report.lines("ours", "reference"), _UNMODELLED),
    ]
    columns = [Column(Key("ues")), Column(Key("gain")), Column(Key("effect")), *terms, *costs]
    return table_of("ues", "Terms of UES", ues_in_words(report), columns, sections)


def ues_in_words(report: Report) -> str:
    """What UES is, and what it gives to who changes nothing and to who corrects all."""
    sentences = [f"UES: {UES}."]
    for line in report.lines("ours", "finetune", "reference"):
        value = line.value(Key("ues"))
        if value is not None and line.role == "finetune":
            sentences.append(f"Changing nothing scores {value:.2f}.")
        elif value is not None and line.run == ORACLE:
            sentences.append(f"A perfect correction ({line.label}) scores {value:.2f}.")
    return " ".join(sentences)


def score_columns(sections: Sequence[Section]) -> list[Column]:
    """Forget, retain, test with ACC (where any answer is closed), ROUGE and BLEU."""
    return seen(by_split("accuracy", "rouge1", "bleu"), sections)


def _parts(report: Report) -> list[Column]:
    cuts = {k.cut for line in report.lines() for k in line.figures if k.cut.startswith(_HARM)}
    metrics = ("rouge1", "clean_rouge1", "accuracy", "clean_accuracy")
    heads = {cut: cut.removeprefix(_HARM).replace("_", " ").capitalize() for cut in sorted(cuts)}
    return [
        Column(Key(metric, "forget", cut), head)
        for cut, head in {**({"": "All"} if len(heads) != 1 else {}), **heads}.items()
        for metric in (metrics[1::2] if not cut else metrics)
    ]


def widest_way(lines: Sequence[Line]) -> str:
    """What most runs have as `any` way of asking; the others' shares are not comparable."""
    ways = [k.way for line in lines for k in line.figures if k.metric == "leaked_rows"]
    joint = {way for way in ways if way.startswith("any")}
    return min(joint, key=lambda way: (-ways.count(way), way), default="any")


def _leakage(lines: Sequence[Line]) -> list[Column]:
    shares = ("rows", "values", "chance")
    widest = widest_way(lines)
    return [
        *(Column(Key(f"leaked_{s}", "forget", "", "own"), WAYS["own"]) for s in shares),
        *(
            Column(Key(f"leaked_{s}", "forget", "", widest), WAYS.get(widest, widest.capitalize()))
            for s in (*shares, "persons", "question", "others")
        ),
    ]


def _learnt(lines: Sequence[Line]) -> list[Column]:
    ways = ("own", "prefix", widest_way(lines))
    return [
        *(Column(Key(f"learnt_{part}", "forget")) for part in ("rows", "values")),
        Column(Key("rouge1", "forget", CUT), "Of these"),
        *(Column(Key("leaked_values", "forget", CUT, way), "Of these", way) for way in ways),
    ]


def signature_lines(report: Report, shown: Sequence[Table]) -> list[str]:
    """Each signature once, with the metrics of these tables that have it."""
    columns = {column.key.metric for table in shown for column in table.columns}
    metrics: dict[str, list[str]] = {}
    for line in report.lines("ours", *ROLES[:-1]):
        for figure in line.figures.values():
            names = metrics.setdefault(figure.signature, [])
            if figure.metric in columns and figure.signature and figure.metric not in names:
                names.append(figure.metric)
    return [f"{', '.join(names)}: {signature}" for signature, names in metrics.items() if names]


def notes(report: Report, shown: Sequence[Table], marked: str, intervals: bool = True) -> list[str]:
    """What a reader must know; `marked` says how the best are marked, where any are: `Bold: {}.`"""
    lines = report.lines("ours", *ROLES[:-1])
    apart, p = Key("ks_distance", "forget"), Key("forget_quality", "forget")
    floor = [line for line in lines if (line.value(apart) or 0) > 1 - 1e-9]
    said = [marked.format(WORDS["best"])] if any(table.has_best for table in shown) else []
    if any(line.is_broken for line in lines):
        said.append(f"{DAGGER} {WORDS['broken'].format(share=BROKEN)}")
    if floor:
        names = ", ".join(line.label for line in floor)
        said.append(
            f"Forget quality is at its floor for this n (p = {floor[0].value(p):.1g}): {names}."
        )
    if any(is_avoided(figure) for line in lines for figure in line.figures.values()):
        said.append(f"{AVOIDED} {WORDS['avoided']}")
    said += next(filter(None, (left_out(line.figures) for line in lines)), [])
    seeds = max((figure.seeds for figure in report.figures), default=1)
    covers = ", which the interval covers too" * intervals
    spread = [f"±: standard deviation over {seeds} seeds{covers}."] * (seeds > 1)
    return [*said, *report.notes, *[WORDS["intervals"]] * intervals, *spread]
