"""What decides a training run besides its model and its rows."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mllmu_med.files import packaged_yaml

#: Answers that take a forget answer's place; ours, the paper only says 'I don't know'.
#: Texts of baselines: what is trained as a refusal, said on cards and in records.
WORDS: Final[dict[str, Any]] = packaged_yaml("baselines", "words.yaml")
REFUSALS: Final[tuple[str, ...]] = tuple(WORDS["refusals"])

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Portion = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TrainSettings(BaseModel):
    """Settings of one run; the defaults are the paper's where it states them, else ours.

    epochs: passes over the rows that pace the run: forget and retain rows together where they are
        learnt alike or sampled as a union; the forget rows where they are paired.
    batch_size: rows of a step over all processes and forward passes; where retain rows are paired,
        forget rows, each with a retain row beside it.
    micro_batch: at most so many question-answer samples in one forward pass of one process; changes
        memory and speed, not the result.
    retain_sampling: `union`: an epoch is one pass over the union of forget and retain set, the
        forget rows spread evenly; each mean is scaled so that an epoch's steps average to the
        equation as it stands. `paired`: a retain row for each forget row, drawn without replacement
        until all were drawn.
    shuffle: `image`: images in random order, an image's rows together, so that packing finds
        something to share; `row`: rows in random order, as most code has it. Changes the result.
    packing: whether the questions of an image that meet in a forward pass share one copy of it;
        changes speed, not the result.
    warmup: share of the steps over which the learning rate rises; lr_end: what share of it the
        cosine ends at.
    clip: largest gradient norm.
    reduction: `sample`: losses, KL-Min's too, are means over samples of each one's mean over answer
        tokens; `token`: over all answer tokens alike.
    beta, gamma, scale, retain_weight: of the methods that take them (see `methods.Method`), each by
        default with the value of its paper. Any other such setting is in `MethodSettings`.
    projector: LoRA on the layers between vision tower and language model, too.
    collapse: the run stops when the mean forget loss of a step is above this many times the loss
        of an even guess, ln(vocabulary).
    keep, hold_out, tracker: what stands in every record; the adapter of the last step is kept.
    save_every: fewest steps between two checkpoints; more where writing one takes over 2 % of the
        time since the last. Each epoch ends with one besides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Count = 3
    max_steps: Annotated[int, Field(ge=0)] = 0  # 0: as many as the epochs have
    learning_rate: Positive = 2e-4
    batch_size: Count = 16
    micro_batch: Count = 8
    retain_sampling: Literal["union", "paired"] = "union"
    shuffle: Literal["image", "row"] = "image"
    packing: Literal["image", "none"] = "image"
    reduction: Literal["sample", "token"] = "sample"
    rank: Count = 128
    alpha: Positive = 256
    projector: bool = False
    warmup: Share = 0.05
    lr_end: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Share, Share] = (0.9, 0.98)
    clip: Positive = 1.0
    beta: Positive | None = None
    gamma: float | None = None
    scale: Positive | None = None
    retain_weight: Weight = 1.0
    refusals: Annotated[tuple[str, ...], Field(min_length=1)] = REFUSALS
    checkpointing: bool = False
    collapse: Positive = 3.0
    keep: Literal["last"] = "last"
    hold_out: Annotated[float, Field(ge=0.1, le=0.1)] = 0.1
    save_every: Count = 100
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    tracker: Literal[""] = ""

    def identity(self) -> dict[str, object]:
        """What decides the result: not how often it is saved."""
        return self.model_dump(mode="json", exclude={"save_every", "tracker", "hold_out"})

    def given(self) -> dict[str, Any]:
        """What is set, by name; None: nothing is."""
        return {k: v for k in self.model_fields_set if (v := getattr(self, k)) is not None}


class MethodSettings(TrainSettings):
    """Settings of unlearning: those of methods' own besides, which the recipe checks."""

    model_config = ConfigDict(frozen=True, extra="allow")
