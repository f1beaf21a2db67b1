"""`python -m builder corpus`."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from builder.commands.options import AsJson, Forget, told
from builder.commands.rebuild_options import marks_of
from mllmu_med.command_line import one_line_errors
from mllmu_med_dataset import CONFIGS, UsageError

if TYPE_CHECKING:
    from builder.rebuild.examine_corpus import Known


@dataclass(frozen=True)
class Options:
    """The options of `python -m builder corpus`."""

    path: Annotated[str, told("corpus.path", argument=True)]
    mapping: Annotated[str | None, told("corpus.mapping")] = None
    pairs: Annotated[list[str] | None, told("corpus.map", "--map")] = None
    scenario: Annotated[str | None, told("corpus.scenario")] = None
    forget: Forget = None
    revision: Annotated[str | None, told("corpus.revision")] = None
    save: Annotated[Path | None, told("corpus.save")] = None
    as_json: AsJson = False


@one_line_errors
def corpus(options: Options) -> None:
    """Look at a table of questions about images before anything is built from it.

    Prints which column is what, what the rows would become, what would be dropped and why, and the
    command that builds a dataset. It shows the table's own texts, and writes nothing but --save.
    """
    import yaml

    from builder.rebuild import examine_corpus
    from mllmu_med.files import write_atomic

    if options.scenario not in (None, "all", *CONFIGS):
        raise UsageError(f"--scenario {options.scenario}: use {', '.join(CONFIGS)} or all")
    known = examine_corpus.look(
        Path(options.path).expanduser(),
        options.mapping,
        options.pairs or [],
        options.revision,
        marks_of(options.forget) if options.forget is not None else None,
    )
    if options.save is not None:
        fields = known.corpus.mapping.model_dump(mode="json", exclude_unset=True)
        write_atomic(options.save, yaml.safe_dump(fields, allow_unicode=True, sort_keys=False))
    if not options.as_json:
        examine_corpus.print_known(known)
    own = known.corpus.mapping.values or any(known.corpus.marks)
    scenario = options.scenario or ("own" if own else "all")
    names = ["privacy", "incorrect"] if scenario == "all" else [scenario]
    found = examine_corpus.count(known, names)
    words = _command(options, scenario, known, found.counts)
    if options.as_json:
        mapping = known.corpus.mapping.model_dump(mode="json", exclude_unset=True)
        named = {"named": known.named or None, "mapping": mapping, "known_by": known.guess.why}
        print(json.dumps(named | found.counts | {"command": " ".join(words)}))
        return
    examine_corpus.print_found(known, found)
    if words:
        print("\nto build it:\n  " + " \\\n    ".join(words))


def _command(options: Options, scenario: str, known: Known, counts: dict[str, Any]) -> list[str]:
    """The command that builds from the corpus, an option a word; none where it is refused."""
    from builder.core.corpus import pairs_of

    if not counts["sizes"]:
        return []
    typed = [("--corpus", options.path)]
    typed += [("--revision", options.revision)] if options.revision else []
    typed += [("--scenario", scenario)] if scenario != "all" else []
    if options.save is not None:
        typed.append(("--mapping", str(options.save)))
    else:
        typed += [("--mapping", known.named)] if known.named else []
        guessed = pairs_of(known.corpus.mapping, private=scenario == "own")
        pairs = options.pairs or [] if known.named else guessed
        typed += [("--map", pair) for pair in pairs]
    if scenario == "own":
        column = known.corpus.marks.column
        mark = f"column={column}" if column else "patients=FILE"
        typed.append(("--forget", options.forget or mark))
    else:  # the default is the demo's folder, which would be replaced
        typed.append(("--out", f"{Path(options.path).stem}-benchmark"))
    names = list(counts["sizes"])
    if any(reason.startswith("its picture") for reason in counts["dropped"]):
        typed += [("--set", f"{name}.bad_pictures=drop") for name in names]
    typed += [("--set", f"{name}.splits=new") for name in names if counts["refused"]]
    return ["python -m builder rebuild", *(f"{flag} {shlex.quote(value)}" for flag, value in typed)]
