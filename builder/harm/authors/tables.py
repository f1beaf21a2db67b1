"""The tables beside this module, read by the fast parser where there is one."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def read_table(name: str) -> Any:
    text = files("builder.harm.authors").joinpath(name).read_text("utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
