"""What a push to the Hub did, or would do, for a terminal: worded in `push.txt.jinja`."""

from collections.abc import Mapping
from typing import Any

from mllmu_med.console import make_console, print_table
from mllmu_med.disk import readable
from mllmu_med.templates import environment


def print_push(told: Mapping[str, Any]) -> None:
    """The plan of a dry run, every file with its size, or what was done."""
    templates = environment(__package__)
    templates.filters["readable"] = readable
    if "files" in told:
        print_table(make_console(), ("file", "#bytes"), told["files"].items(), gap=False)
    print(templates.get_template("push.txt.jinja").render(told).rstrip())
