"""Texts that are worded in templates (Jinja) beside the code that fills them."""

from typing import Any

import jinja2


def environment(package: str, folder: str = "", **options: Any) -> jinja2.Environment:
    """For the templates of a package: a name without a value is an error, a tag leaves no line."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
