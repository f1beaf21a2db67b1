"""Options that several commands of eval share, and the model or server that they name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mllmu_med.command_line import option
from mllmu_med.files import parse_json
from mllmu_med_dataset import UsageError

Data = Annotated[str | None, option("DIR|ID", "The dataset. [default: ./mllmu-med]", "--data")]
Config = Annotated[str, option("NAME", "privacy, incorrect, own, or a ratio as privacy_r05.")]
Splits = Annotated[
    list[str] | None, option("NAME", "forget, retain or test; may be repeated.", "--split")
]
ModelName = Annotated[
    str | None, option("DIR|ID", "A model's folder, Hub id, or name on the server.", "--model")
]
Adapters = Annotated[
    list[Path] | None, option("DIR", "A PEFT adapter on top; may be repeated.", "--adapter")
]
Batch = Annotated[int, option("N", "Questions per batch.", "--batch-size", min=1)]
Device = Annotated[str, option("NAME", "cpu, cuda, ... [default: the fastest]")]
Dtype = Annotated[
    str, option("NAME", "float32, bfloat16, float16, nf4. [default: bfloat16, CPU: float32]")
]
NoShare = Annotated[
    bool, typer.Option("--no-share", help="Read every row through the model's own code; slower.")
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


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
    server: Annotated[
        str | None, option("URL", "URL of an OpenAI-compatible server to query instead.")
    ] = None
    concurrency: Annotated[int, option("N", "Maximum number of concurrent requests.", min=1)] = 16
    patience: Annotated[
        int, option("SECONDS", "How long to wait for a server that is starting.", min=0)
    ] = 900
    chat_template_kwargs: Annotated[
        str | None, option("JSON", "For the server's chat template: a JSON object.")
    ] = None

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
        from mllmu_med.files import check_out, folder_made

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
