"""The reply cache: every reply a language model ever gave us, under the hash of what was asked.

One SQLite file (WAL). A reply is on the disk before anyone sees it, so that a killed run asks
nothing twice. Images inside a request count by their hash and are not kept: the cache stays
small and hands on no image. `export` writes the replies as one Parquet file that travels with
the dataset; `load` reads it into another cache, where `--offline` replays it.

    sqlite3 requests.sqlite "SELECT finish_reason, count(*) FROM replies GROUP BY 1"
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from mllmu_med.disk import free, readable, refused
from mllmu_med.errors import UserError, first_line
from mllmu_med.files import atomic_file, canonical_json, parse_json
from mllmu_med.llm.chat import FORMAT, Reply, Request, key_of, read_completion
from mllmu_med.llm.settings import Totals

_TABLES = """
CREATE TABLE IF NOT EXISTS replies(
    key TEXT PRIMARY KEY,           -- sha256 of request + structured
    request TEXT NOT NULL,          -- canonical JSON, pictures by their hash
    structured TEXT NOT NULL,       -- how the reply's form was really asked for
    adapted TEXT NOT NULL,          -- JSON list: parameters the server refused and went without
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    refusal TEXT NOT NULL,
    model TEXT NOT NULL,            -- as the server named it
    prompt_tokens INTEGER,          -- NULL: the server did not say
    completion_tokens INTEGER,
    origin TEXT NOT NULL,           -- live or loaded (somebody else's export)
    raw TEXT,                       -- the reply's body; NULL when loaded
    base_url TEXT, latency REAL, retries INTEGER, asked_at TEXT, answered_at TEXT
);
"""
#: What an export holds: all that a replay needs, nothing that differs between two equal runs.
_EXPORTED = (
    "key request structured adapted text finish_reason refusal model prompt_tokens "
    "completion_tokens"
).split()
_ABOUT: Final = b"request_ledger"  # the metadata of an export


class ReplyCache:
    """The replies in one SQLite file. Use it in a `with`, from the thread that opened it.

    Writes go through a thread of their own: the event loop never waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open or create. Raises UserError when the file is no cache or cannot be written."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
            version = self._value("PRAGMA user_version")
            if version not in (0, FORMAT):
                raise UserError(f"{path}: a request ledger of version {version}: use a newer build")
            if version == 0 and self._value("SELECT count(*) FROM sqlite_master"):
                raise UserError(f"{path}: a database of something else: choose another path")
            self._db.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
        except (sqlite3.Error, OSError) as error:
            space = f"; {free(path)}" if refused(error) else ""
            raise UserError(
                f"{path}: cannot be used as a request ledger ({error}{space})"
            ) from error
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="reply-cache")
        self._out: sqlite3.Connection | None = None  # the writer's own

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for every write, then close. May be called twice."""
        self._writer.shutdown()
        for db in filter(None, (self._db, self._out)):
            db.close()

    def get(self, key: str) -> Reply | None:
        row = self._row(
            "SELECT text, finish_reason, refusal, model, coalesce(prompt_tokens, 0), "
            "coalesce(completion_tokens, 0) FROM replies WHERE key = ?",
            key,
        )
        return Reply._make((*row, True)) if row else None

    def put(self, request: Request, structured: str, raw: str, **facts: Any) -> Future[None]:
        """Keep a reply; the future is done when it is committed, and fails with a UserError.

        The first reply to a request stays. `facts` are `adapted` (parameters that were refused),
        `base_url`, `latency` (seconds), `retries`, `asked_at` and `answered_at` (ISO 8601). Raises
        ValueError when `raw` is no chat completion.
        """
        completion = read_completion(raw)
        form = structured if request.schema is not None else "none"
        adapted = canonical_json(sorted(facts.pop("adapted", ())))
        row: dict[str, Any] = {
            "key": request.key(form),
            "request": request.canonical,
            "structured": form,
        }
        row |= {"adapted": adapted, **completion.reply._asdict(), "raw": raw, "origin": "live"}
        row |= facts
        del row["cached"]
        if not completion.has_usage:
            row |= {"prompt_tokens": None, "completion_tokens": None}
        return self._insert(row, [tuple(row.values())])

    def __len__(self) -> int:
        return int(self._value("SELECT count(*) FROM replies"))

    def totals(self, model: str) -> Totals:
        row = self._row(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " count(*) - count(prompt_tokens) FROM replies "
            "WHERE origin != 'loaded' AND json_extract(request, '$.model') = ?",
            model,
        )
        return Totals(*row or ())

    def export(self, path: Path, keys: Set[str] | None = None) -> int:
        """Write the replies under these keys, or all, as one Parquet file; returns how many.

        Two caches with the same replies give the same bytes (with one version of pyarrow): when,
        how fast and from which server a reply came is left out, and so is its raw body.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = [pa.int64() if name.endswith("_tokens") else pa.string() for name in _EXPORTED]
        about = {_ABOUT: canonical_json({"format": FORMAT})}
        schema = pa.schema(zip(_EXPORTED, types, strict=True), metadata=about)
        size = self._value("SELECT sum(length(request) + length(text)) FROM replies") or 0
        count = 0
        cursor = self._db.execute(f"SELECT {','.join(_EXPORTED)} FROM replies ORDER BY key")
        with (
            atomic_file(path, size) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            while rows := cursor.fetchmany(1000):
                rows = [row for row in rows if keys is None or row[0] in keys]
                if rows:
                    columns = dict(zip(_EXPORTED, zip(*rows, strict=True), strict=True))
                    writer.write_table(pa.table(columns, schema=schema))
                    count += len(rows)
        return count

    def load(self, path: Path) -> int:
        """Read an export into this cache; returns how many replies were new.

        Raises UserError when the file is no export, or when a reply does not stand under the hash
        of its request: somebody changed it by hand.
        """
        before = len(self)
        for rows in _read_export(path):
            values = [(*row.values(), "loaded") for row in rows]
            self._insert([*_EXPORTED, "origin"], values).result()
        return len(self) - before

    def _row(self, sql: str, *values: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
        return row

    def _value(self, sql: str, *values: str) -> Any:
        row = self._row(sql, *values)
        return row[0] if row else None

    def _insert(self, names: Iterable[str], rows: list[tuple[Any, ...]]) -> Future[None]:
        names = list(names)
        marks = ", ".join("?" * len(names))
        sql = f"INSERT OR IGNORE INTO replies({', '.join(names)}) VALUES ({marks})"
        return self._writer.submit(self._commit, sql, rows)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a paid reply outlives a power cut, too
        return db

    def _commit(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """In the writer's thread."""
        try:
            self._out = self._out or self._connect()
            with self._out as db:
                db.executemany(sql, rows)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            size = readable(sum(len(str(row)) for row in rows))
            raise UserError(
                f"{self.path}: cannot keep a reply ({error}; about {size} asked for, "
                f"{free(self.path)}): make room first, then run the same command again: the "
                "replies before it are kept"
            ) from error


def _read_export(path: Path) -> Iterator[list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        about = parse_json((file.schema_arrow.metadata or {})[_ABOUT])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(f"{path}: not an exported request ledger ({error})") from error
    if about["format"] != FORMAT or file.schema_arrow.names != _EXPORTED:
        raise UserError(f"{path}: an export of version {about['format']}: use a newer build")
    try:
        for batch in file.iter_batches(1000):
            rows: list[dict[str, Any]] = batch.to_pylist()
            for row in rows:
                if key_of(row["request"], row["structured"]) != row["key"]:
                    raise UserError(
                        f"{path}: the reply {row['key'][:12]} is not under the hash of its "
                        "request: the file was changed; take the original"
                    )
            yield rows
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: cut off or damaged ({first_line(error)})") from error
