"""Image-text models: the prompt that training and answering share, greedy answers, likelihoods.

LLaVA-family models answer in batches in which each image is read once, whatever the number of its
questions: the prompts' common beginning (with the image) is prefilled once, its cache is repeated
for every question, and positions go on after it. The text is that of one question at a time. Other
models answer row by row through `generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eval.attacks import Ask
from eval.dataset_rows import ImageStore
from eval.special_tokens import MARK, Quoting
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

#: LLaVA-Med v1.5's prompt (`mistral_instruct`); any LLaVA over Mistral gets it.
LLAVA_MED: Final = "[INST] <image>\n{question} [/INST]"
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    tokens: int
    end: str  # "eos", or "length" where it was cut off


@dataclass(slots=True)
class Model:
    """A model with its processor, ready to answer."""

    model: Any
    processor: Any
    identity: dict[str, Any]
    #: Whether an image's prefill can serve all its questions.
    shares: bool
    _image_tokens: int = 0
    _quoting: Quoting | None = None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def _med(self) -> bool:
        config = self.model.config
        return bool(config.model_type == "llava" and config.text_config.model_type == "mistral")

    def prompt(self, question: str, image: bool = True, start: str = "") -> str:
        """What the model reads, before the image's tokens are put in; `start` begins the answer.

        LLaVA-Med's template for LLaVA over Mistral, else the processor's own chat template; special
        tokens in question and start are quoted (see `eval.special_tokens`).
        """
        question, start = self.quoting.quoted(question), self.quoting.quoted(start)
        if self._med:
            text = LLAVA_MED.format(question=question)
            text = text if image else text.replace("<image>\n", "", 1)
        else:
            content = [{"type": "image"}] if image else []
            messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
            text = self.processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
        return f"{text} {start}" if start else text

    def token_ids(self, text: str, images: int = 1) -> list[int]:
        """A prompt's tokens with the image's placeholders put in, never truncated."""
        tokenizer = self.processor.tokenizer
        if images:
            mark = self.processor.image_token
            text = text.replace(mark, mark * self.image_tokens(), 1)
        starts = tokenizer.bos_token and text.startswith(tokenizer.bos_token)
        return self.quoting.encode(text, not starts)

    @property
    def quoting(self) -> Quoting:
        self._quoting = self._quoting or Quoting(self.processor.tokenizer, self.identity)
        return self._quoting

    def read_texts(self, texts: Sequence[str], images: Sequence[Image], **how: Any) -> Any:
        """Prompts through the processor; a template that writes `<s>` itself gets no other."""
        if any(MARK in text for text in texts):
            raise self.quoting.unreadable("its processor makes tokens of whole texts")
        begin = self.processor.tokenizer.bos_token or ""
        how["add_special_tokens"] = not (begin and texts[0].startswith(begin))
        given = {"images": [[image] for image in images]} if images else {}
        read = self.processor(text=list(texts), **given, return_tensors="pt", **how)
        read = read.to(self.device)
        if "pixel_values" in read:
            read["pixel_values"] = read["pixel_values"].to(self.model.dtype)
        return read

    def image_tokens(self) -> int:
        """Tokens that an image takes: 576 for LLaVA-Med."""
        if not self._image_tokens:
            from PIL import Image as images

            blank = images.new("RGB", (64, 64))
            read = self.processor(images=[blank], text=[self.processor.image_token])
            mark = self.model.config.image_token_index
            self._image_tokens = sum(token == mark for token in read["input_ids"][0])
        return self._image_tokens

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Images x 3 x height x width, in the model's own type and place."""
        read = self.processor.image_processor(images=list(images), return_tensors="pt")
        values: torch.Tensor = read["pixel_values"]
        return values.to(self.device, self.model.dtype)

    def answer(self, asked: Sequence[Ask], images: ImageStore, max_new_tokens: int) -> list[Answer]:
        """Greedy answers to one batch, in its order."""

        def work(batch: Sequence[Ask]) -> list[Answer]:
            if self.shares:
                return self._answer_shared(batch, images, max_new_tokens)
            return [self.answer_one(ask, images, max_new_tokens) for ask in batch]

        return in_memory(work, asked)

    def answer_one(self, ask: Ask, images: ImageStore, max_new_tokens: int) -> Answer:
        """One question through the library's own processor and `generate`."""
        read = self._read_prompt(self.prompt(ask.question, ask.image, ask.start), ask, images)
        out = self.model.generate(
            **read, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
        )
        return self._read(out[0, read["input_ids"].shape[1] :].tolist())

    def _read_prompt(self, text: str, ask: Ask, images: ImageStore) -> Any:
        """One prompt through the processor, or where that would misread it, of a LLaVA, by us."""
        import torch

        shown = [images[ask.row.image_id]] if ask.image else []
        if MARK not in text or self.model.config.model_type != "llava":
            return self.read_texts([text], shown)
        ids = torch.tensor([self.token_ids(text, len(shown))], device=self.device)
        read = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return {**read, "pixel_values": self.pixels(shown)} if shown else read

    def _answer_shared(
        self, asked: Sequence[Ask], images: ImageStore, max_new_tokens: int
    ) -> list[Answer]:
        import torch

        ends = self.end_tokens()
        cache, rest, prefix = self.prefill(asked, images)
        read = self._left_padded(rest, prefix)
        alive = torch.arange(len(asked), device=self.device)
        written: list[list[int]] = [[] for _ in asked]
        stop = torch.tensor(sorted(ends), device=self.device)
        for step in range(max_new_tokens):
            out = self.model(**read, cache=cache, use_cache=True, logits_to_keep=1)
            cache = out.cache
            chosen = out.logits[:, -1].argmax(-1)
            for index, token in zip(alive.tolist(), chosen.tolist(), strict=True):
                written[index].append(token)
            going = ~torch.isin(chosen, stop)
            if step + 1 == max_new_tokens or not going.any():
                break
            # Answers differ much in length: those that have ended leave the batch.
            keep = going.nonzero()[:, 0]
            if len(keep) < len(alive):
                cache.batch_select_indices(keep)
                alive, chosen = alive[keep], chosen[keep]
                read = {name: value[keep] for name, value in read.items()}
            mask = read["attention_mask"]
            read = {
                "input_ids": chosen[:, None],
                "attention_mask": torch.cat([mask, mask.new_ones(len(mask), 1)], 1),
                "position_ids": read["position_ids"][:, -1:] + 1,
            }
        return [self._read(tokens) for tokens in written]

    def logprobs(
        self, asked: Sequence[Ask], answers: Sequence[str], images: ImageStore
    ) -> list[list[float]]:
        """Log-probabilities of each answer's tokens and its end token, teacher-forced, in float32.

        A list for each pair of question and answer, as long as the answer has tokens, plus one.
        """

        def work(pairs: Sequence[tuple[Ask, str]]) -> list[list[float]]:
            if self.shares:
                return self._logprobs_shared(pairs, images)
            return [self._logprobs_one(ask, answer, images) for ask, answer in pairs]

        return in_memory(work, list(zip(asked, answers, strict=True)))

    def _logprobs_shared(
        self, pairs: Sequence[tuple[Ask, str]], images: ImageStore
    ) -> list[list[float]]:
        answer_tokens = [self.answer_ids(answer) for _, answer in pairs]
        cache, rest, prefix = self.prefill([ask for ask, _ in pairs], images, answer_tokens)
        read = self._left_padded(rest, prefix)
        longest = max(map(len, answer_tokens))
        out = self.model(**read, cache=cache, use_cache=True, logits_to_keep=longest + 1)
        return [_chosen(row, tokens) for row, tokens in zip(out.logits, answer_tokens, strict=True)]

    def _logprobs_one(self, ask: Ask, answer: str, images: ImageStore) -> list[float]:
        answer_tokens = self.answer_ids(answer)
        prompt = self.prompt(ask.question, ask.image, f"{ask.start} {answer}".strip())
        read = self._read_prompt(prompt + self.processor.tokenizer.eos_token, ask, images)
        if read["input_ids"][0, -len(answer_tokens) :].tolist() != answer_tokens:
            raise self.tokens_depend("likelihoods are not defined for it yet")
        logits = self.model(**read, logits_to_keep=len(answer_tokens) + 1).logits
        return _chosen(logits[0], answer_tokens)

    def _left_padded(self, rest: list[list[int]], prefix: int) -> dict[str, torch.Tensor]:
        """Tokens after a shared beginning as the model reads them, [B, longest]."""
        import torch

        width = max(map(len, rest))
        ids = torch.zeros(len(rest), width, dtype=torch.long)
        mask = torch.ones(len(rest), prefix + width, dtype=torch.long)
        for i, tokens in enumerate(rest):
            ids[i, width - len(tokens) :] = torch.tensor(tokens)
            mask[i, prefix : prefix + width - len(tokens)] = 0
        ids, mask = ids.to(self.device), mask.to(self.device)
        # Positions go on after the image; those of the padding are never looked at.
        positions = (mask.cumsum(1) - 1)[:, prefix:]
        return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}

    def prefill(
        self, asked: Sequence[Ask], images: ImageStore, ends: Sequence[Sequence[int]] = ()
    ) -> tuple[Any, list[list[int]], int]:
        """Read each image of a batch once, with the words that all prompts begin with.

        Args:
            ends: tokens after each prompt (an answer to be weighed); default: none.

        Returns:
            A key-value cache with a row for each ask, the tokens still to be read of each (one at
            least), and the number of tokens read.
        """
        import torch

        with_image = asked[0].image
        texts = [self.prompt(ask.question, ask.image, ask.start) for ask in asked]
        ids = [self.token_ids(text, int(with_image)) for text in texts]
        prefix = common_prefix(ids)  # never the whole prompt: its last token predicts the answer
        if ends:
            ids = [[*row, *end] for row, end in zip(ids, ends, strict=True)]
        if with_image and any(self.model.config.image_token_index in row[prefix:] for row in ids):
            raise UserError(
                f"{self.identity['model']}: its chat template puts the question before the image:"
                " such a LLaVA cannot be answered yet"
            )
        image_ids = [ask.row.image_id if with_image else "" for ask in asked]
        once = list(dict.fromkeys(image_ids))
        read = torch.tensor([ids[0][:prefix]] * len(once), device=self.device)
        pixels = self.pixels([images[image_id] for image_id in once]) if with_image else None
        out = self.model(
            input_ids=read,
            attention_mask=torch.ones_like(read),
            pixel_values=pixels,
            use_cache=True,
            logits_to_keep=1,
        )
        rows = torch.tensor([once.index(image_id) for image_id in image_ids], device=self.device)
        out.cache.batch_select_indices(rows)
        return out.cache, [row[prefix:] for row in ids], prefix

    def answer_ids(self, answer: str) -> list[int]:
        """The tokens of an answer after its prompt, with the end token: what training trains.

        Read together with a prompt: alone, some tokenizers would begin it with one token more.

        Raises:
            UserError: a tokenizer that joins an answer's first word to the prompt's last.
        """
        prompt = self.prompt("", image=False)
        before = self.quoting.encode(prompt, False)
        both = self.quoting.encode(f"{prompt} {self.quoting.quoted(answer)}", False)
        if both[: len(before)] != before:
            raise self.tokens_depend("likelihoods are not defined for it yet")
        return [*both[len(before) :], self.processor.tokenizer.eos_token_id]

    def tokens_depend(self, therefore: str) -> UserError:
        """The error of a tokenizer that joins an answer to its prompt."""
        return UserError(
            f"{self.identity.get('model')}: its tokens of an answer depend on the prompt before "
            f"it: {therefore}"
        )

    def end_tokens(self) -> set[int]:
        ends = self.model.generation_config.eos_token_id
        if ends is None:
            ends = self.processor.tokenizer.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _read(self, tokens: list[int]) -> Answer:
        ends = self.end_tokens()
        ended = [i for i, token in enumerate(tokens) if token in ends]
        kept = tokens[: ended[0]] if ended else tokens
        text = self.processor.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return Answer(text, len(kept), "eos" if ended else "length")


def in_memory(
    work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]
) -> list[Result]:
    """`work(items)` without gradients, halved until it fits into memory; else a UserError."""
    import torch

    with torch.inference_mode():
        try:
            return work(items)
        except torch.cuda.OutOfMemoryError:
            if len(items) == 1:
                raise UserError(
                    "one question alone does not fit into the accelerator's memory: use a smaller "
                    "model, or --server on a larger machine"
                ) from None
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return in_memory(work, items[:middle]) + in_memory(work, items[middle:])


def _chosen(logits: torch.Tensor, tokens: list[int]) -> list[float]:
    """Log-probabilities of the last tokens from the logits one place before each."""
    import torch

    before = logits[-len(tokens) - 1 : -1].float().log_softmax(-1)
    index = torch.tensor(tokens, device=before.device)[:, None]
    logprobs: list[float] = before.gather(1, index)[:, 0].tolist()
    return logprobs


def common_prefix(ids: Sequence[Sequence[int]]) -> int:
    """How many first tokens are equal in all; one at least of each is left over."""
    shortest = min(map(len, ids)) - 1
    differs = (i for i in range(shortest) if len({tokens[i] for tokens in ids}) > 1)
    return next(differs, shortest)
