"""Tables of cases, in YAML beside the tests that read them."""

from pathlib import Path
from typing import Any

import yaml


def cases(test: str) -> dict[str, Any]:
    """Those of a test's file: `test_x.yaml` beside `test_x.py`."""
    found: dict[str, Any] = yaml.safe_load(Path(test).with_suffix(".yaml").read_text("utf-8"))
    return found
