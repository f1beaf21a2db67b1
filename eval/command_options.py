"""Options that several commands of eval share, and the model or server that they name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mllmu_med.command_line import options_of
from mllmu_med.files import parse_json
from mllmu_med_dataset import UsageError

told = options_of("eval")

Data = Annotated[str | None, told("shared.data", "--data")]
Config = Annotated[str, told("shared.config")]
Splits = Annotated[list[str] | None, told("shared.split", "--split")]
ModelName = Annotated[str | None, told("shared.model", "--model")]
Adapters = Annotated[list[Path] | None, told("shared.adapter", "--adapter")]
Batch = Annotated[int, told("shared.batch_size", "--batch-size", min=1)]
Device = Annotated[str, told("shared.device")]
Dtype = Annotated[str, told("shared.dtype")]
NoShare = Annotated[bool, told("shared.no_share")]
Json = Annotated[bool, told("shared.json")]


@dataclass(frozen=True)
class Answerer:
    """The options that say who answers."""

    model: ModelName = None
    adapter: Adapters = None
    batch_size: Batch = 32
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, metavar="N")] = 128
    device: Device = ""
    dtype: Dtype = ""
    no_share: NoShare = False
    server: Annotated[str | None, told("answerer.server")] = None
    concurrency: Annotated[int, told("answerer.concurrency", min=1)] = 16
    patience: Annotated[int, told("answerer.patience", min=0)] = 900
    chat_template_kwargs: Annotated[str | None, told("answerer.chat_template_kwargs")] = None

    def _template(self) -> dict[str, Any]:
        given = None
        with suppress(ValueError):
            given = parse_json(self.chat_template_kwargs or "{}")
        if not isinstance(given, dict):
            raise UsageError(
                f"--chat-template-kwargs {self.chat_template_kwargs}: write a JSON object, e.g. "
                "'{\"enable_thinking\": false}'"
            )
        return given

    def answer(self, asked: list[Any], data: str | None, config: str, out: Path) -> list[Any]:
        """Answer what `out` does not hold yet; a UsageError if nobody can or nothing is asked."""
        from mllmu_med.folders import check_out, folder_made

        with folder_made(out.parent, "answers"):
            check_out(out, "answers")
            return self._answer(asked, data, config, out)

    def _answer(self, asked: list[Any], data: str | None, config: str, out: Path) -> list[Any]:
        from eval.answer import answer_with_model
        from eval.attacks import NEEDS_CLEAN
        from eval.dataset_rows import DatasetImages

        if not self.model:
            raise UsageError(
                "--model is missing: a folder, a Hub id, or a server's name for the model"
            )
        if not asked:
            raise UsageError(
                "nothing to ask: these splits hold no row for this way of asking (clean: "
                f"{NEEDS_CLEAN})"
            )
        images = DatasetImages(data, config, {ask.row.split for ask in asked})
        if self.server:
            from eval.model_server import answer_with_server

            if self.adapter:
                raise UsageError("--adapter and --server: load the adapter in the server instead")
            return answer_with_server(
                *(self.server, self.model, asked, images, out),
                *(self.max_new_tokens, self.concurrency, self.patience, self._template()),
            )
        if self.chat_template_kwargs:
            raise UsageError("--chat-template-kwargs is for --server: a model here has its own")
        from eval.load_model import load_given

        loaded = load_given(self.model, self.adapter, self.device, self.dtype, self.no_share)
        return answer_with_model(loaded, asked, images, out, self.max_new_tokens, self.batch_size)
