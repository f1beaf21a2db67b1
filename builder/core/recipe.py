"""Recipes: every number and choice that decides which dataset comes out.

A recipe is a YAML file (`builder/recipes/demo.yaml`, `paper.yaml`, or a file of yours), read into
the frozen models below; an unknown key is an error. Where a source lies on the disk, how many
threads read it and where the result goes are no part of a recipe: they do not change the bytes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.training_settings import TrainSettings
from builder.core.corpus import PHANTOM, TABLE, Kind, shipped
from mllmu_med_dataset import CONFIGS, FORGET_RATIOS, MAIN_RATIO, PII_KINDS

Count = Annotated[int, Field(ge=1, strict=True)]
Size = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
Kinds = tuple[tuple[Kind, ...], ...]

#: Combinations of private values, ours: see the recipe `paper`.
_KINDS: Final = (
    "name|name mrn|name phone|name email|name address|name date|mrn date|phone date|email mrn|"
    "address phone|name phone date|name mrn date|name email phone|name address date"
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Placements(_Model):
    """Shares of the open questions whose private text goes into the question, the answer or both.

    A closed question keeps its yes or no, so its private text always goes into the question.
    """

    question: Share = 0.0
    answer: Share = 0.6
    both: Share = 0.4

    @model_validator(mode="after")
    def _sum(self) -> Placements:
        if not math.isclose(self.question + self.answer + self.both, 1, abs_tol=1e-9):
            raise ValueError("the three shares must add up to 1")
        return self


class Scenario(_Model):
    """Where the rows come from, the sizes of the three sets and how they are cut.

    Sizes of 0 are taken from the corpus once it is read (`builder.draw.sized`).
    """

    source: str  # phantom, a shipped corpus' name, or table
    forget: Size = 0
    retain: Size = 0
    test: Size = 0
    candidates: Size = 0  # rows that are made harmful, of which `forget` are kept
    ratios: tuple[int, ...] = (MAIN_RATIO,)
    split_by: Literal["pair", "image", "patient"] = "pair"
    splits: Literal["given", "new"] = "given"  # the corpus' own, where it has test rows
    bad_pictures: Literal["fail", "drop"] = "fail"
    review: bool = False  # people accept, edit or reject each harmful text

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        known = [PHANTOM, TABLE, *shipped()]
        if self.source not in known:
            raise ValueError(f"source {self.source!r}: use one of {', '.join(known)}")
        if not self.sized:
            if any((self.retain, self.test, self.candidates)) or len(self.ratios) > 1:
                raise ValueError("give forget, retain, test and candidates, or none of them")
            if self.source == PHANTOM:
                raise ValueError("phantom images are drawn for sizes: give forget, retain, ...")
            return self
        if min(self.forget, self.retain, self.test) < 1:
            raise ValueError("forget, retain and test must be at least 1")
        if self.candidates < self.forget:
            raise ValueError(f"candidates ({self.candidates}) must be at least forget")
        ratios = self.ratios
        if MAIN_RATIO not in ratios or not set(ratios) <= set(FORGET_RATIOS):
            raise ValueError(f"ratios must hold {MAIN_RATIO} and others of {list(FORGET_RATIOS)}")
        if list(ratios) != sorted(set(ratios)):
            raise ValueError("ratios must be in ascending order, each once")
        sizes = [self.forget_at(ratio) for ratio in ratios]
        if sizes[0] < 1 or any(a >= b for a, b in pairwise(sizes)):
            raise ValueError(f"forget and retain do not nest as ratios {list(ratios)}: {sizes}")
        return self

    def forget_at(self, ratio: int) -> int:
        """|forget| at a ratio in percent, with |forget| + |retain| fixed (the paper's Figure 4).

        r/(100+r) of the sum, halves rounded up; the main ratio is the recipe's own `forget`, as the
        paper's 351 of 3,960 (8.9 %) is what it calls "approximately 10%".
        """
        if ratio == MAIN_RATIO:
            return self.forget
        total, whole = self.forget + self.retain, 100 + ratio
        return (2 * total * ratio + whole) // (2 * whole)

    @property
    def sized(self) -> bool:
        """Whether the recipe gives the sizes of the sets."""
        return self.forget > 0

    @property
    def harmful(self) -> int:
        """Harmful rows over all ratios: the forget set of the largest."""
        return self.forget_at(self.ratios[-1])

    @property
    def candidates_needed(self) -> int:
        """Candidates over all ratios, in the same proportion as at the main one."""
        return -(-self.candidates * self.harmful // self.forget)

    @property
    def gives_back(self) -> bool:
        """Whether a row with no harmful text to keep is retained, so that all may be tried."""
        return False

    @property
    def retain_core(self) -> int:
        """Rows that are retain at every ratio."""
        return self.forget + self.retain - self.harmful


class Privacy(Scenario):
    placements: Placements = Placements()
    kinds: Kinds = tuple(tuple(kinds.split()) for kinds in _KINDS.split("|"))  # type: ignore[arg-type]

    @model_validator(mode="after")
    def _kinds(self) -> Privacy:
        if not self.kinds or any(not kinds or len(set(kinds)) < len(kinds) for kinds in self.kinds):
            raise ValueError(f"kinds must be lists of different kinds out of {list(PII_KINDS)}")
        return self


class Judge(_Model):
    """The lowest plausibility, 1 to 5, at which a language model lets an incorrect answer pass."""

    least_plausible: Annotated[int, Field(ge=1, le=5, strict=True)] = 3


class Incorrect(Scenario):
    outdated_share: Share = 0.0
    drop_conversation: bool = False
    judge: Judge | None = None  # the language model judges each answer, whoever writes it
    blend: Annotated[float, Field(ge=1)] = 1.0  # texts written for each that is kept

    @model_validator(mode="after")
    def _blends(self) -> Incorrect:
        if self.blend > 1 and not self.gives_back:
            raise ValueError("blend above 1 chooses among single rows: it needs split_by: pair")
        return self

    @property
    def gives_back(self) -> bool:
        return self.split_by == "pair"


class Own(Scenario):
    """A corpus as it is: real patients' rows that its user marks are the forget set."""

    split_by: Literal["pair", "image", "patient"] = "patient"

    @model_validator(mode="after")
    def _as_it_is(self) -> Own:
        if self.source == PHANTOM or self.review or len(self.ratios) > 1:
            raise ValueError("own is cut from a corpus as it is: no phantoms, review or ratios")
        if self.candidates != self.forget:
            raise ValueError("own writes nothing: candidates must be forget")
        return self


class Llm(_Model):
    """The language model that writes the harmful text, where `author` is `llm`."""

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    max_tokens: Count | None = 2048  # of a reply
    tries: Count = 3  # replies asked for, until one passes the checks
    picture: bool = False  # show the model the image, too


class Training(_Model):
    """How the throw-away adapter of each scenario is trained; the seed is the recipe's.

    The defaults are the paper's: 3 epochs at 2e-4 for privacy, 2 at 2e-5 for incorrect.
    """

    privacy: TrainSettings = TrainSettings()
    incorrect: TrainSettings = TrainSettings(epochs=2, learning_rate=2e-5)


class Calibration(_Model):
    """Two-stage self-calibration: which model is adapted, who rates its answers, what is kept."""

    model: str  # a folder, a Hub id, or tiny: made and trained on the spot
    rater: Literal["offline", "llm"] = "offline"
    least: Annotated[int, Field(ge=1, le=5, strict=True)] = 2  # the lowest rating that may be kept
    max_new_tokens: Count = 128
    batch_size: Count = 32  # questions answered at once
    train: Training = Training()


class Recipe(_Model):
    name: str
    seed: Annotated[int, Field(ge=0, lt=2**63, strict=True)]
    author: Literal["offline", "llm"]
    llm: Llm = Llm()
    calibration: Calibration | None = None
    privacy: Privacy | None = None
    incorrect: Incorrect | None = None
    own: Own | None = None

    @model_validator(mode="after")
    def _model_named(self) -> Recipe:
        others = self.privacy or self.incorrect or self.calibration
        if self.own and others:
            raise ValueError("own is built alone: leave privacy, incorrect and calibration out")
        if self.asks_model and not self.llm.model:
            judged = "incorrect.judge" if self.judge else "rater llm"
            who = "author llm" if self.author == "llm" else judged
            raise ValueError(f"{who} needs a model: --model NAME, or llm.model in the recipe")
        return self

    @property
    def asks_model(self) -> bool:
        """Whether a language model writes or judges the harmful text, or rates answers."""
        rated = self.calibration is not None and self.calibration.rater == "llm"
        return self.author == "llm" or rated or self.judge is not None

    @property
    def judge(self) -> Judge | None:
        return self.incorrect.judge if self.incorrect else None

    def writes_with_model(self, scenario: Scenario) -> bool:
        """Whether a language model is asked where a scenario's texts are written."""
        judged = isinstance(scenario, Incorrect) and scenario.judge is not None
        return self.author == "llm" or judged

    def sifts(self, scenario: Scenario) -> bool:
        """Whether written candidates are chosen among later: rated by calibration, or reviewed."""
        return self.calibration is not None or scenario.review

    def scenarios(self) -> dict[str, Scenario]:
        every: dict[str, Scenario | None] = {name: getattr(self, name) for name in CONFIGS}
        return {name: scenario for name, scenario in every.items() if scenario is not None}
