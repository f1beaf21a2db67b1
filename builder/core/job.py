"""What to build, out of what, and where to; kept in the work folder for `status` and `show`."""

import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from builder.core.corpus import Corpus
from builder.core.recipe import Recipe
from builder.core.stage_cache import Chain
from mllmu_med.files import canonical_json, parse_json, write_atomic
from mllmu_med.folders import make_folder
from mllmu_med.image_bytes import ImageError, clean_image
from mllmu_med.llm.settings import Settings
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import Record, UsageError, UserError

#: What is kept of a job: neither how to reach a model nor what it replied before.
_KEPT: Final = ("recipe", "out", "corpora", "accept_all")


@dataclass(frozen=True)
class Job:
    """What to build, out of what, and where to."""

    recipe: Recipe
    out: Path
    work: Path
    #: By scenario, the corpus that it is made from; phantoms are none.
    corpora: Mapping[str, Corpus] = field(default_factory=dict)
    #: How to reach the language model, where one writes: never a part of what is built.
    llm: Settings | None = None
    recorded: Path | None = None  # an exported request ledger to read first
    #: Take the texts that nobody has reviewed as they are, where the recipe wants a review.
    accept_all: bool = False
    #: The key of a trial, which leaves nothing in the work folder.
    secret: bytes | None = None

    @property
    def requests(self) -> Path:
        """Where the language model's replies are kept."""
        return self.work / "requests.sqlite"

    def key(self) -> bytes:
        """What keyed pseudonyms are made with; it stays in the work folder."""
        path = self.work / "key"
        if self.secret is not None:
            return self.secret
        if not path.is_file():
            make_folder(self.work, "the work folder")
            self.work.chmod(0o700)
            write_atomic(path, secrets.token_hex(32) + "\n")
            path.chmod(0o600)
        return path.read_bytes()


def trial(job: Job) -> Job:
    """The job with its key, or one drawn for it, for a dry run, which writes nothing."""
    path = job.work / "key"
    return replace(job, secret=path.read_bytes() if path.is_file() else secrets.token_bytes())


def default_work(out: Path) -> Path:
    """The work folder of a dataset's folder when none is named: OUT.work beside it."""
    return out.with_name(out.name + ".work")


def work_folder(work: Path | None, out: Path) -> Path:
    """The work folder that --work and --out mean; a UsageError where `out` names no folder."""
    target = out.expanduser().resolve()
    if not target.name:
        raise UsageError(f"--out {out}: name a folder")
    return (work or default_work(target)).expanduser().resolve()


def shown(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def out_option(out: Path) -> str:
    """The option that makes other commands find a folder, with a space before it; none if they do
    without."""
    return "" if shown(out) == DEFAULT_FOLDER else f" --out {shlex.quote(shown(out))}"


def options(job: Job) -> str:
    """The options that make the other commands find this build, with a space before each."""
    return out_option(job.out) + (
        "" if job.work == default_work(job.out) else f" --work {shlex.quote(str(job.work))}"
    )


def write_job(job: Job) -> None:
    """Keep a job in its work folder."""
    record = TypeAdapter(Job).dump_python(job, mode="json", include={*_KEPT})
    write_atomic(job.work / "job.json", canonical_json(record) + "\n")


def read_job(work: Path) -> Job:
    """The job of the last rebuild in a work folder; a UserError where there was none."""
    try:
        record = parse_json((work / "job.json").read_text("utf-8"))
        return TypeAdapter(Job).validate_python({**record, "work": work})
    except FileNotFoundError as error:
        raise UserError(
            f"{work}: no rebuild has run here: run `python -m builder rebuild`, or name the folder "
            "with --work"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{work / 'job.json'}: cannot be read: run the rebuild again") from error


def image_reader(job: Job, chain: Chain, name: str) -> Callable[[Record], bytes]:
    """How to read a scenario's images, each checked against its record's hash."""
    copies = chain.folder / "ingest" / "pictures"
    corpus = job.corpora.get(name)

    def read(record: Record) -> bytes:
        path = copies / record.image_path  # drawn, unpacked, converted or renamed
        if corpus and not path.is_file():
            path = corpus.folder / record.image_path
        try:
            data = path.read_bytes()
            if sha256(data).hexdigest() == record.image_sha256:
                return data  # as ingest left it: looked through, and without its metadata
            data = clean_image(data)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}): restore it") from error
        except ImageError as error:
            raise UserError(f"{path}: {error}: restore it and run again") from error
        if sha256(data).hexdigest() != record.image_sha256:
            raise UserError(f"{path}: was changed while the dataset was built: run again")
        return data

    return read
