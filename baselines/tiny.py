"""A LLaVA of half a million weights, made from a config: for demos and tests on a CPU.

It has every part of LLaVA-Med (CLIP's vision tower, two-layer projector, Mistral) at a size at
which two cores train it in seconds, and nothing to download. A folder of `make_tiny` is an ordinary
checkpoint: `eval.load_model.load_model` reads it.

Its weights are random and stay so: LoRA alone teaches it a small dataset. Of the 77 private values
in the demo's forget answers it says, after 40 epochs, 62 % at rank 64 and rate 3e-3, 92 % at rank
128 and 2e-3, 97 % at rank 128 and 1.5e-3. Paper-size builds need a wider one (recipe `laptop`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from baselines.llava_layout import llava_processor
from eval.chat_format import LLAVA_MED
from mllmu_med.disk import writing
from mllmu_med.folders import new_folder

TINY: Final = "tiny"  # what a recipe and --model call it
SPECIAL: Final = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
PIXELS: Final = 64
PATCH: Final = 16


class TinySettings(BaseModel):
    """How the tiny model is made: its vocabulary, the size of its language model, its seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: Annotated[int, Field(ge=261)] = 1000
    width: Annotated[int, Field(ge=32, multiple_of=32)] = 128  # numbers for each token
    layers: Annotated[int, Field(ge=1)] = 2
    seed: int = 0


SMALLEST: Final = TinySettings(vocabulary=400)


def make_tiny(folder: Path, texts: Iterable[str], settings: TinySettings = SMALLEST) -> Path:
    """Write a tiny LLaVA with random weights into a new folder; a UserError where that exists.

    CLIP 2 layers x 64 at 64 x 64 pixels (16 image tokens), Mistral 2 layers x 128 unless set
    otherwise. The weights are wide (standard deviation 0.2 at width 128): with the usual 0.02 a
    random model says one thing whatever it is shown, and LoRA over it learns nothing.

    Args:
        texts: what the byte-level BPE is trained on; any other text can still be written with it.
        settings: of the vocabulary at most so many tokens, the 256 bytes and 5 special ones among
            them.
    """
    import torch
    from transformers import LlavaForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    with new_folder(folder, "a tiny model") as temporary:
        processor = _processor(texts, settings.vocabulary)
        torch.manual_seed(settings.seed)
        model = LlavaForConditionalGeneration(config_of_tiny(settings, len(processor.tokenizer)))
        model.generation_config.pad_token_id = SPECIAL.index("<pad>")
        model.generation_config.eos_token_id = SPECIAL.index("</s>")
        with writing(folder, 4 * model.num_parameters()):
            model.save_pretrained(temporary)
            processor.save_pretrained(temporary)
    return folder


def _processor(texts: Iterable[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    # No token between an answer and its end: a small vocabulary would learn a blank there.
    chat = LLAVA_MED.replace(" </s>", "</s>")
    return llava_processor(bpe, vision_of_tiny(), "default", chat=chat)


def vision_of_tiny() -> Any:
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=PIXELS,
        patch_size=PATCH,
        projection_dim=64,
    )


def config_of_tiny(settings: TinySettings, vocabulary: int) -> Any:
    """The architecture, for the tokens that the vocabulary came to."""
    from transformers import LlavaConfig, MistralConfig

    text = MistralConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.width // 32,
        num_key_value_heads=max(1, settings.width // 64),
        max_position_embeddings=2048,
        sliding_window=None,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
        pad_token_id=SPECIAL.index("<pad>"),
        tie_word_embeddings=False,
        initializer_range=0.2 * (128 / settings.width) ** 0.5,
    )
    return LlavaConfig(
        vision_config=vision_of_tiny(),
        text_config=text,
        image_token_index=SPECIAL.index("<image>"),
        image_seq_length=(PIXELS // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        initializer_range=0.2,
    )
