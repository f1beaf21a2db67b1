"""Image-text models: the prompt that training and answering share, greedy answers, likelihoods.

Questions of one image share its prefill when they are answered, and a row when answers are weighed,
where that was found to equal the family's own forward pass (`eval.sharing`). All others go through
the model's own processor and `generate`, in batches padded on the left. Decoding is greedy: what a
checkpoint's generation_config says of sampling and penalties does not apply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from eval.attacks import Ask
from eval.chat_format import ChatFormat
from eval.dataset_rows import ImageStore
from eval.memorisation import Weighed
from eval.spread import is_first
from eval.weights import active, base_of, beyond_decoder
from mllmu_med.progress import say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from eval.image_prefix import Prefixes
    from eval.packed_rows import Spot
    from eval.sharing import Sharing

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    tokens: int
    end: str  # "eos", or "length" where it was cut off


@dataclass
class Model:
    """A model with its processor, ready to answer.

    share: whether rows may share what is read of an image, where that is right (`--no-share`).
    longest: of the texts to be read, in characters: the length at which that is tried out.
    """

    model: Any
    processor: Any
    identity: dict[str, Any]
    format: ChatFormat
    share: bool = True
    longest: int = 0
    _outside: frozenset[str] | None = field(default=None, repr=False)
    _fitting: dict[str, int] = field(default_factory=dict, repr=False)  # into memory, at once
    _said: set[str] = field(default_factory=set, repr=False)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def base(self) -> Any:
        """See `base_of`."""
        return base_of(self.model)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        tokens = self.processor.tokenizer.added_tokens_decoder.values()
        texts = sorted({t.content for t in tokens if t.special}, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts)) or "(?!)")

    def quoted(self, text: str) -> str:
        """A text to be put into a prompt, its special tokens broken up by a space: `< image>`.

        So `<image>` in a question shows no image, and `</s>` in an answer ends none.
        """
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    @cached_property
    def prefixes(self) -> Prefixes:
        from eval.image_prefix import Prefixes

        return Prefixes(self)

    @cached_property
    def sharing(self) -> Sharing:
        """What rows of one image may share, tried out when it is first asked for."""
        from eval.sharing import Sharing, probe

        found = probe(self) if self.share else Sharing("off: --no-share")
        if not (found.rows and found.packing and found.prefill):
            self.say_once(f"  rows of one image: {found.why}")
        return found

    def say_once(self, line: str) -> None:
        if line not in self._said and is_first():
            self._said.add(line)
            say(line)

    def too_long(self) -> None:
        """Say that rows are read through the processor, for they share nothing."""
        window = self.sharing.window
        self.say_once(f"  longer than the sliding window of {window:,} tokens: shares nothing")

    def expect(self, texts: Iterable[str]) -> None:
        """Say which texts will be read: sharing is tried out at the longest one's length.

        Rounded up to a power of two, so that texts of about its length are not tried out again.
        """
        longest = 1 << max(max(map(len, texts), default=0) - 1, 0).bit_length()
        if longest > self.longest:
            self.longest = longest
            self.__dict__.pop("sharing", None)

    def precision(self) -> AbstractContextManager[Any]:
        """In what all arithmetic is done, of training and evaluation alike.

        Where the model's weights are in bfloat16 so is it, that of adapters in float32 included.
        """
        import torch

        half = self.model.dtype == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    @property
    def pad(self) -> int:
        token: int | None = self.processor.tokenizer.pad_token_id
        return 0 if token is None else token

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of the language model's last hidden states: [..., width] -> [..., vocabulary]."""
        logits: torch.Tensor = self.base.get_output_embeddings()(hidden)
        cap = getattr(self.base.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    def prompt(self, question: str, image: bool = True, start: str = "") -> str:
        """What the model reads, before the image's tokens are put in; `start` begins the answer."""
        text = self.format.prompt(self.quoted(question), image)
        return f"{text}{self.format.separator}{self.quoted(start)}" if start else text

    def text_ids(self, text: str) -> list[int]:
        """A prompt's tokens as they are; a template that writes `<s>` itself gets no other."""
        begin = self.processor.tokenizer.bos_token
        return self.encode(text, not (begin and text.startswith(begin)))

    def encode(self, text: str, begin: bool = False) -> list[int]:
        """The tokens of a prompt; `begin`: with what the tokenizer puts before every text."""
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=begin)["input_ids"]
        return ids

    def read_texts(self, texts: Sequence[str], images: Sequence[Image], **how: Any) -> Any:
        """Prompts through the processor, never truncated."""
        begin = self.processor.tokenizer.bos_token or ""
        how["add_special_tokens"] = not (begin and texts[0].startswith(begin))
        given = {"images": [[image] for image in images]} if images else {}
        read = self.processor(text=list(texts), **given, return_tensors="pt", **how)
        read = read.to(self.device)
        if "pixel_values" in read:
            read["pixel_values"] = read["pixel_values"].to(self.model.dtype)
        return read

    def answer(self, asked: Sequence[Ask], images: ImageStore, max_new_tokens: int) -> list[Answer]:
        """Greedy answers to one batch, in its order: all with images, or none."""

        def work(batch: Sequence[Ask]) -> list[Answer]:
            if self.sharing.prefill:
                from eval.greedy import greedy

                written = greedy(self, batch, images, max_new_tokens)
                if written is not None:
                    return [self._read(tokens) for tokens in written]
                self.too_long()
            return self.answer_plainly(batch, images, max_new_tokens)

        return self._in_memory("answering", work, asked)

    def answer_plainly(
        self, asked: Sequence[Ask], images: ImageStore, max_new_tokens: int
    ) -> list[Answer]:
        """Questions through the library's own processor and `generate`, padded on the left."""
        texts = [self.prompt(ask.question, ask.image, ask.start) for ask in asked]
        shown = [images[ask.row.image_id] for ask in asked if ask.image]
        read = self.read_texts(texts, shown, padding=True, padding_side="left")
        out = self.model.generate(**read, max_new_tokens=max_new_tokens)
        return [self._read(row) for row in out[:, read["input_ids"].shape[1] :].tolist()]

    def weigh(
        self, asked: Sequence[Ask], answers: Sequence[str], images: ImageStore
    ) -> list[Weighed]:
        """Each answer's tokens and its end, teacher-forced, in float32.

        One for each pair of question and answer, as long as `answer_ids` of the answer.
        """

        def work(pairs: Sequence[tuple[Ask, str]]) -> list[Weighed]:
            if self.sharing.rows:
                from eval.packed_rows import weigh

                weighed = weigh(self, pairs, images)
                if weighed is not None:
                    return weighed
                self.too_long()
            return self.weigh_plainly(pairs, images)

        return self._in_memory("weighing", work, list(zip(asked, answers, strict=True)))

    def weigh_plainly(self, pairs: Sequence[tuple[Ask, str]], images: ImageStore) -> list[Weighed]:
        """The same through the model's own processor and forward pass."""
        from eval.packed_rows import by_sample

        texts = [(ask.question, answer, ask.image) for ask, answer in pairs]
        shown = [images[ask.row.image_id] for ask, _ in pairs if ask.image]
        read, spots = self.read_answered(texts, shown)
        logits = self.plain_logits(read, [s.row for s in spots], [s.column for s in spots])
        return by_sample(logits, spots, len(pairs))

    def read_answered(
        self, texts: Sequence[tuple[str, str, bool]], shown: Sequence[Image]
    ) -> tuple[dict[str, torch.Tensor], list[Spot]]:
        """Through the processor, padded on the right: inputs, and where answers are predicted.

        texts: question, answer, and whether the question has an image.
        """
        from eval.packed_rows import Spot

        whole = [self.prompt(q, image, a) + self.format.closing for q, a, image in texts]
        read = dict(self.read_texts(whole, shown, padding=True, padding_side="right"))
        spots = []
        for i, (_, text, _) in enumerate(texts):
            answer, end = self.answer_ids(text), int(read["attention_mask"][i].sum())
            if read["input_ids"][i, end - len(answer) : end].tolist() != answer:
                raise self.tokens_depend()
            first = end - len(answer) - 1
            spots += [Spot(i, first + k, token, i) for k, token in enumerate(answer)]
        return read, spots

    def plain_logits(
        self, inputs: Mapping[str, torch.Tensor], rows: Any, columns: Any
    ) -> torch.Tensor:
        """The family's own forward pass, its output layer in some places alone: [T, vocabulary]."""

        def pick(_: Any, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return given[0][rows, columns][None]

        hook = self.base.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            logits: torch.Tensor = self.model(**inputs, use_cache=False).logits[0]
        finally:
            hook.remove()
        return logits

    def _in_memory(
        self, what: str, work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]
    ) -> list[Result]:
        """`work(items)` without gradients, in batches that fit into memory; else a UserError.

        What did not fit is halved, here and from now on.
        """
        import torch

        done: list[Result] = []
        while len(done) < len(items):
            some = items[len(done) : len(done) + self._fitting.get(what, len(items))]
            try:
                with torch.inference_mode(), self.precision():
                    done += work(some)
                continue
            except torch.cuda.OutOfMemoryError:
                if len(some) == 1:
                    raise UserError(
                        "one question alone does not fit into the accelerator's memory: use a "
                        "smaller model, or --server on a larger machine"
                    ) from None
            torch.cuda.empty_cache()  # not before the error and what it holds are gone
            self._fitting[what] = len(some) // 2
            say(f"  {what}: {len(some)} at once do not fit into memory, now {len(some) // 2} do")
        return done

    @cached_property
    def ending(self) -> int:
        """How many of the last `answer_ids` are an answer's end."""
        return len(self.answer_ids("Yes")) - len(self.answer_ids("Yes", closed=False))

    def answer_ids(self, answer: str, closed: bool = True) -> list[int]:
        """The tokens of an answer after its prompt, with its end: what training trains.

        Read together with a prompt: alone, some tokenizers would begin it with one token more.
        closed: with its end.

        Raises:
            UserError: a tokenizer that joins an answer's first word to the prompt's last.
        """
        prompt = self.prompt("", image=False)
        before = self.encode(prompt)
        whole = f"{prompt}{self.format.separator}{self.quoted(answer)}"
        both = self.encode(whole + self.format.closing * closed)
        if both[: len(before)] != before:
            raise self.tokens_depend()
        return both[len(before) :]

    def tokens_depend(self) -> UserError:
        return UserError(
            f"{self.identity.get('model')}: its tokens of an answer depend on the prompt before "
            "it: its likelihoods are not defined, and it cannot be trained"
        )

    def end_tokens(self) -> set[int]:
        """The tokens that end an answer: the checkpoint's own, and the chat template's."""
        ends = self.base.generation_config.eos_token_id
        if ends is None:
            ends = self.processor.tokenizer.eos_token_id
        named = set(ends) if isinstance(ends, list) else {ends}
        return {*named, self.processor.tokenizer.convert_tokens_to_ids(self.format.end)}

    def sees_anew(self) -> bool:
        """Whether an active adapter changes what an image looks like (LoRA on the projector)."""
        on = active(self.model)
        if on and self._outside is None:
            self._outside = beyond_decoder(self.model)
        return not (self._outside or frozenset()).isdisjoint(on)

    def changed(self) -> None:
        """An adapter was put on or taken off."""
        self._outside = None

    def _read(self, tokens: list[int]) -> Answer:
        ends = self.end_tokens()
        ended = [i for i, token in enumerate(tokens) if token in ends]
        kept = tokens[: ended[0]] if ended else tokens
        text = self.processor.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Answer(text, len(kept), "eos" if ended else "length")
