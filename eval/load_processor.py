"""A checkpoint's processor: as the library loads it, or put together from its parts.

Images are read with Pillow, so that they are the same everywhere. A processor with a part for
videos cannot be loaded without torchvision; videos are not read here, so that part is left out.
"""

from __future__ import annotations

from typing import Any

from mllmu_med.errors import first_line
from mllmu_med_dataset import UserError


def load_processor(source: str, revision: str | None, name: str) -> Any:
    """The processor of a folder or Hub id; OSError or ValueError as the library raises them.

    Raises:
        UserError: a part of it needs a package that is not here.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(
            source, revision=revision, backend="pil", trust_remote_code=False
        )
    except ImportError:
        try:
            return _from_parts(source, revision)
        except ImportError as error:
            raise UserError(
                f"{name}: its processor needs a package that is not installed: {first_line(error)}"
            ) from error


def _from_parts(source: str, revision: str | None) -> Any:
    import transformers
    from transformers import AutoTokenizer
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.processing_utils import ProcessorMixin

    how: Any = {"revision": revision, "trust_remote_code": False}
    given, _ = ProcessorMixin.get_processor_dict(source, revision=revision)
    images = AutoImageProcessor.from_pretrained(source, backend="pil", **how)
    tokenizer = AutoTokenizer.from_pretrained(source, **how)
    named = given.get("processor_class") or tokenizer.init_kwargs.get("processor_class")
    kind = getattr(transformers, named or "", None)
    if kind is None:
        raise ImportError(f"no processor of this name: {named}")

    parts = {"image_processor": images, "tokenizer": tokenizer}
    still: Any = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: [*parts])})
    return still.from_args_and_dict([parts.get(name) for name in kind.get_attributes()], given)
