"""The request ledger: every reply a language model ever gave us, under the hash of what was asked.

One SQLite file (WAL). A reply is on the disk before anyone sees it, so that a killed run asks
nothing twice. Pictures inside a request count by their hash and are not kept: the ledger stays
small and hands on no picture. `export` writes the replies as one Parquet file that travels with
the dataset; `load` reads it into another ledger, where `--offline` replays it.

    sqlite3 requests.sqlite "SELECT finish_reason, count(*) FROM replies GROUP BY 1"
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, NamedTuple

from mllmu_med.disk import free, readable, refused, writing
from mllmu_med.errors import UserError
from mllmu_med.files import canonical_json

FORMAT: Final = 1  # of the keys, the tables and the export
#: How a reply's form is asked for, the strictest first.
STRUCTURED: Final = ("json_schema", "json_object", "none")

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
    origin TEXT NOT NULL,           -- live, batch or loaded (somebody else's export)
    raw TEXT,                       -- the reply's body; NULL when loaded
    base_url TEXT, latency REAL, retries INTEGER, asked_at TEXT, answered_at TEXT
);
-- What the batches under way hold: their replies come with a key alone, perhaps to another run.
CREATE TABLE IF NOT EXISTS submitted(
    key TEXT PRIMARY KEY, batch TEXT NOT NULL,
    request TEXT NOT NULL, structured TEXT NOT NULL, adapted TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
#: What an export holds: all that a replay needs, nothing that differs between two equal runs.
_EXPORTED = (
    "key request structured adapted text finish_reason refusal model prompt_tokens "
    "completion_tokens"
).split()
_INSERT = "INSERT OR IGNORE INTO replies({}) VALUES ({})"
_DIALECT = "dialect:"  # meta names under which a client keeps what a model's server refuses


@dataclass(frozen=True)
class Request:
    """Exactly what identifies a call: nothing of how, when or where it is sent.

    `messages` are chat messages, their content a text or parts (pictures as data URIs); `schema`
    is `{"name": ..., "schema": JSON schema}` or None for free text; `sampling` holds only what is
    set; `attempt` counts the times a reply failed its check and was asked for again.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None
    sampling: Mapping[str, Any]
    prompt_version: str
    attempt: int = 0

    @cached_property
    def canonical(self) -> str:
        """The request as it is kept: canonical JSON, each picture replaced by its sha256."""
        return canonical_json(
            {
                "format": FORMAT,
                "model": self.model,
                "messages": _plain(self.messages),
                "schema": _plain(self.schema),
                "sampling": _plain(self.sampling),
                "prompt_version": self.prompt_version,
                "attempt": self.attempt,
            }
        )

    def key(self, structured: str) -> str:
        """sha256 (hex) of the canonical JSON and of how the reply's form is asked for."""
        return _key(self.canonical, structured if self.schema is not None else "none")

    def __str__(self) -> str:
        return f"prompt {self.prompt_version}, attempt {self.attempt} ({self.key('none')[:12]})"


def _key(canonical: str, structured: str) -> str:
    # The canonical JSON of both: `structured` comes after all other names in the alphabet.
    return sha256(f'{canonical[:-1]},"structured":"{structured}"}}'.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _picture_hash(item)
            if name == "url" and isinstance(item, str) and item.startswith("data:")
            else _plain(item)
            for name, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _picture_hash(uri: str) -> str:
    head, _, data = uri.partition(",")
    return f"{head.removesuffix(';base64')};sha256,{sha256(data.encode()).hexdigest()}"


class Reply(NamedTuple):
    """What a model answered. `finish_reason` is `empty` when the server sent no choice at all."""

    text: str
    finish_reason: str
    refusal: str
    model: str  # as the server named it
    prompt_tokens: int
    completion_tokens: int
    cached: bool  # it came from the ledger


def read_reply(body: Any) -> tuple[Reply, bool] | None:
    """A chat completion's parsed JSON as a reply, and whether it told its usage; else None.

    Takes whatever a server may send for one: missing or wrong fields become empty ones.
    """
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        return None
    choice = body["choices"][0] if body["choices"] else {"finish_reason": "empty"}
    choice = choice if isinstance(choice, dict) else {}
    message, usage = choice.get("message"), body.get("usage")
    message = message if isinstance(message, dict) else {}
    usage = usage if isinstance(usage, dict) else {}
    content = message.get("content")
    if isinstance(content, list):  # parts, as some servers send them
        content = "".join(_text(p.get("text")) for p in content if isinstance(p, dict))
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    known = prompt is not None and completion is not None
    reply = Reply(
        _text(content),
        _text(choice.get("finish_reason")),
        _text(message.get("refusal")),
        _text(body.get("model")),
        prompt or 0,
        completion or 0,
        cached=False,
    )
    return reply, known


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _text(value: Any) -> str:
    # Half a surrogate pair is legal in JSON and illegal in every file we write.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


class Totals(NamedTuple):
    """What one model was asked for with this ledger; exports that were loaded do not count."""

    replies: int
    prompt_tokens: int
    completion_tokens: int
    without_usage: int  # replies whose server did not tell their tokens


class _Write(NamedTuple):
    sql: str
    rows: list[tuple[Any, ...]]
    done: Future[None]


class RequestLedger:
    """The replies in one SQLite file. Use it in a `with`, from the thread that opened it.

    Writes go through a thread of their own that commits all that wait at once: the event loop
    never waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        """Open or create. Raises UserError when the file is no ledger or cannot be written."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise UserError(f"{path}: a request ledger of version {version}: use a newer build")
            if (
                version == 0
                and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            ):
                raise UserError(f"{path}: a database of something else: choose another path")
            self._db.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT};")
        except (sqlite3.Error, OSError) as error:
            space = f"; {free(path)}" if refused(error) else ""
            raise UserError(
                f"{path}: cannot be used as a request ledger ({error}{space})"
            ) from error
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._ending = Lock()  # nothing is queued once the writer has ended
        self._ended: BaseException | None = None
        self._writer = Thread(target=self._write_all, name="request-ledger", daemon=True)
        self._writer.start()

    def __enter__(self) -> RequestLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for every write, then close. May be called twice."""
        self._queue.put(None)
        self._writer.join()
        self._db.close()

    def get(self, key: str) -> Reply | None:
        row = self._db.execute(
            "SELECT text, finish_reason, refusal, model, prompt_tokens, completion_tokens "
            "FROM replies WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        text, finish_reason, refusal, model, prompt, completion = row
        return Reply(text, finish_reason, refusal, model, prompt or 0, completion or 0, cached=True)

    def put(
        self,
        request: Request,
        structured: str,
        raw: str,
        *,
        adapted: Iterable[str] = (),
        origin: str = "live",
        **facts: Any,
    ) -> Future[None]:
        """Keep a reply; the future is done when it is committed, and fails with a UserError.

        The first reply to a request stays. `facts` are `base_url`, `latency` (seconds), `retries`,
        `asked_at` and `answered_at` (ISO 8601). Raises ValueError when `raw` is no chat completion.
        """
        structured = structured if request.schema is not None else "none"
        asked = (request.canonical, structured, canonical_json(sorted(adapted)))
        return self._keep(request.key(structured), asked, raw, {"origin": origin, **facts})

    def submit(self, batch: str, asked: Iterable[tuple[Request, str, Iterable[str]]]) -> None:
        """Note what a batch holds, as `put` takes it; on the disk when this returns."""
        rows = [
            (one.key(form), batch, one.canonical, form, canonical_json(sorted(adapted)))
            for one, form, adapted in asked
        ]
        self._write("INSERT OR REPLACE INTO submitted VALUES (?, ?, ?, ?, ?)", rows).result()

    def is_submitted(self, key: str) -> bool:
        """Whether a batch under way holds this request."""
        row = self._db.execute("SELECT 1 FROM submitted WHERE key = ?", (key,)).fetchone()
        return row is not None

    def put_submitted(self, key: str, raw: str, **facts: Any) -> Future[None]:
        """`put` for the reply to a request that a batch under way holds."""
        asked = self._db.execute(
            "SELECT request, structured, adapted FROM submitted WHERE key = ?", (key,)
        ).fetchone()
        return self._keep(key, asked, raw, {"origin": "batch", **facts})

    def forget_submitted(self, batch: str) -> None:
        """A batch is done with: nothing more will come of it."""
        self._write("DELETE FROM submitted WHERE batch = ?", [(batch,)]).result()

    def _keep(
        self, key: str, asked: tuple[str, str, str], raw: str, facts: Mapping[str, Any]
    ) -> Future[None]:
        read = read_reply(json.loads(raw))
        if read is None:
            raise ValueError("not a chat completion")
        reply, known = read
        request, structured, adapted = asked
        row = {
            "key": key,
            "request": request,
            "structured": structured,
            "adapted": adapted,
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "refusal": reply.refusal,
            "model": reply.model,
            "prompt_tokens": reply.prompt_tokens if known else None,
            "completion_tokens": reply.completion_tokens if known else None,
            "raw": raw,
            **facts,
        }
        return self._insert(list(row), [tuple(row.values())])

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def totals(self, model: str) -> Totals:
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " count(*) - count(prompt_tokens) FROM replies "
            "WHERE origin != 'loaded' AND json_extract(request, '$.model') = ?",
            (model,),
        ).fetchone()
        return Totals(*row)

    def mean_completion(self, model: str) -> float | None:
        """Tokens of a reply, over all replies of a model that tell; None when there are none."""
        row = self._db.execute(
            "SELECT avg(completion_tokens) FROM replies WHERE json_extract(request, '$.model') = ?",
            (model,),
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def set_meta(self, name: str, value: str) -> None:
        """Keep a value under a name; on the disk when this returns."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, value)]).result()

    def dialect(self, model: str) -> dict[str, Any]:
        """What the servers of a model were found to refuse (see `Client`); empty when not asked."""
        found: dict[str, Any] = json.loads(self.meta(_DIALECT + model) or "{}")
        return found

    def set_dialect(self, model: str, dialect: Mapping[str, Any]) -> None:
        self.set_meta(_DIALECT + model, canonical_json(dialect))

    def export(self, path: Path, keys: Set[str] | None = None) -> int:
        """Write the replies under these keys, or all, as one Parquet file; returns how many.

        Two ledgers with the same replies give the same bytes (with one version of pyarrow): when,
        how fast and from which server a reply came is left out, and so is its raw body.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = canonical_json({"format": FORMAT})
        numbers = ("prompt_tokens", "completion_tokens")
        fields = [(name, pa.int64() if name in numbers else pa.string()) for name in _EXPORTED]
        schema = pa.schema(fields, metadata={"request_ledger": about})
        temporary = path.with_name(path.name + ".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        count = 0
        cursor = self._db.execute(f"SELECT {','.join(_EXPORTED)} FROM replies ORDER BY key")
        with (
            writing(path, half=temporary) as asked,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            while rows := cursor.fetchmany(1000):
                if keys is not None:
                    rows = [row for row in rows if row[0] in keys]
                if not rows:
                    continue
                columns = [
                    pa.array(column, field[1])
                    for column, field in zip(zip(*rows, strict=True), fields, strict=True)
                ]
                table = pa.table(columns, schema=schema)
                asked.append(table.nbytes)
                writer.write_table(table)
                count += len(rows)
        temporary.replace(path)
        return count

    def load(self, path: Path) -> int:
        """Read an export into this ledger; returns how many replies were new.

        Raises UserError when the file is no export, or when a reply does not stand under the hash
        of its request: somebody changed it by hand.
        """
        before = len(self)
        for rows in _read_export(path):
            self._insert(
                [*_EXPORTED, "origin"],
                [(*(row[name] for name in _EXPORTED), "loaded") for row in rows],
            ).result()
        return len(self) - before

    def _insert(self, names: list[str], rows: list[tuple[Any, ...]]) -> Future[None]:
        sql = _INSERT.format(", ".join(names), ", ".join("?" * len(names)))
        return self._write(sql, rows)

    def _write(self, sql: str, rows: list[tuple[Any, ...]]) -> Future[None]:
        done: Future[None] = Future()
        with self._ending:
            if self._ended is None:
                self._queue.put(_Write(sql, rows, done))
            else:
                done.set_exception(self._ended)
        return done

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=60)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a paid reply outlives a power cut, too
        return db

    def _write_all(self) -> None:
        """Write what is queued; whatever ends this, nobody waits for it in vain."""
        taken: list[_Write] = []
        why: BaseException = RuntimeError(f"{self.path}: this ledger is closed")
        try:
            self._serve(taken)
        except sqlite3.Error as error:
            why = self._failure(error)
        finally:
            why = sys.exception() or why
            with self._ending:
                self._ended = why
                while not self._queue.empty():
                    taken += [write for write in [self._queue.get()] if write is not None]
            for write in taken:
                if not write.done.done():
                    write.done.set_exception(why)

    def _serve(self, taken: list[_Write]) -> None:
        """Write until the queue is closed; `taken` holds what has left it and is not done with."""
        db = self._connect()
        going = True
        while going:
            waiting = [self._queue.get()]
            try:
                while True:
                    waiting.append(self._queue.get_nowait())
            except Empty:
                going = None not in waiting
            taken[:] = [write for write in waiting if write is not None]
            # A reply that nobody waits for any more is kept, too: it has been paid for.
            told = [write for write in taken if write.done.set_running_or_notify_cancel()]
            try:
                with db:
                    for write in taken:
                        db.executemany(write.sql, write.rows)
            except (sqlite3.Error, ValueError, OverflowError) as error:
                size = sum(len(str(row)) for write in taken for row in write.rows)
                for write in told:
                    write.done.set_exception(self._failure(error, size))
            else:
                for write in told:
                    write.done.set_result(None)
        db.close()

    def _failure(self, error: Exception, size: int = 0) -> UserError:
        asked = f"about {readable(size)} asked for, " if size else ""
        return UserError(
            f"{self.path}: cannot keep a reply ({error}; {asked}{free(self.path)}): make room "
            "first, then run the same command again: the replies before it are kept"
        )


def _read_export(path: Path) -> Iterator[list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        about = json.loads((file.schema_arrow.metadata or {})[b"request_ledger"])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(f"{path}: not an exported request ledger ({error})") from error
    if about["format"] != FORMAT or file.schema_arrow.names != _EXPORTED:
        raise UserError(f"{path}: an export of version {about['format']}: use a newer build")

    for batch in file.iter_batches(1000):
        rows: list[dict[str, Any]] = batch.to_pylist()
        for row in rows:
            if _key(row["request"], row["structured"]) != row["key"]:
                raise UserError(
                    f"{path}: the reply {row['key'][:12]} is not under the hash of its request: "
                    "the file was changed; take the original"
                )
        yield rows
