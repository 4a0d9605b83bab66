"""The database's connection, its errors wrapped once, our SQL by name, and the migrations.

Knows psycopg; knows neither the application's tables nor what our own mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, LiteralString, cast

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from reconcile.model import Misconfigured, Unavailable
from reconcile.pooled import Cursor, Pooled

Connection = psycopg.Connection[tuple[Any, ...]]
READ_AS = {"TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres"}  # the driver reads no other
BY_INDEX = {"enable_seqscan": "off", "jit": "off"}  # else plans without an index look dear enough to compile
MARK = "storage_reconciler.session"  # a setting without a meaning, by which is seen whether the others arrived
POOLED = "set database.pooled = true, by which nothing of a session is relied on"
MIGRATION_LOCK = 0x5EC0_0001
BRAKE_LOCK = 0x5EC0_0002

UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.InsufficientResources,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
)
BUSY = (
    errors.LockNotAvailable,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)


class Busy(Exception):
    """Somebody else is at the same rows: nothing was written, look again soon."""


class Crowded(Busy):
    """Others hold what all share, and not a row: a smaller batch would wait as long."""


class Refused(Exception):
    """The application's tables would not take a write: a CHECK, an enum, a trigger, a privilege."""


def queries(text: str) -> dict[str, LiteralString]:
    """Split a file of statements at its `-- name:` lines."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: cast("LiteralString", body.strip()) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def sql_file(name: str) -> str:
    """Return the text of one of our .sql files."""
    return (resources.files("reconcile") / "sql" / name).read_text("utf-8")


SQL = queries(sql_file("queries.sql"))


@dataclass
class Database:
    """One connection, opened when needed and opened again after it broke; for one thread.

    With `by_index` the planner passes whole tables over where an index serves: our own begin empty and may grow by
    100 000 rows in a minute, faster than their statistics. `statement_timeout` and `lock_timeout` are PostgreSQL's own
    notation ('10s', '200ms'). `pooled` is for a pooler in transaction mode, such as PgBouncer.
    `url` may tell what it is now: each connection asks anew. With `primary` a standby is no database: its rows are old.
    """

    url: str | Callable[[], str] = field(repr=False)
    name: str = "storage-reconciler"
    statement_timeout: str = "10s"
    lock_timeout: str = "200ms"
    pooled: bool = False
    patience_s: float = 2.0
    by_index: bool = False
    primary: bool = False
    _connection: Connection | None = field(default=None, repr=False)

    def another(self) -> Database:
        """Return the same with a connection of its own, for another thread."""
        return replace(self, _connection=None)

    def connection(self) -> Connection:
        """Return the open connection; raises Unavailable after `patience_s` of trying."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        try:
            for attempt in Retrying(
                stop=stop_after_delay(self.patience_s),
                wait=wait_exponential(0.05, max=0.5),
                retry=retry_if_exception_type(psycopg.OperationalError),
                reraise=True,
            ):
                with attempt:
                    return self._open_pooled() if self.pooled else self._open()
        except psycopg.OperationalError as error:
            raise Unavailable("postgresql", first_line(error)) from error
        raise AssertionError

    def _open(self) -> Connection:
        """Connect with the options of the URL, such as a search_path, and with ours, which go before them."""
        url = self._url()
        ours = {**self._settings(), "default_transaction_isolation": "read\\ committed", MARK: "ours"}
        settings = " ".join([options_of(url), *(f"-c {name}={value}" for name, value in ours.items())])
        try:
            opened = psycopg.connect(url, **self._manners(), options=settings)
        except psycopg.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            raise Misconfigured(
                f"a pooler does not let our sessions through ({first_line(error)}); {POOLED}"
            ) from error
        if opened.execute("SELECT current_setting(%s, true)", [MARK]).fetchone() != ("ours",):
            opened.close()
            raise Misconfigured(f"a pooler drops the time-outs of our sessions on the way to the database; {POOLED}")
        return opened

    def _open_pooled(self) -> Connection:
        url = self._url()
        if options_of(url):
            raise Misconfigured(
                "database.url: its options do not pass a pooler; give them to the role, as by"
                " ALTER ROLE … SET search_path = …, or set database.pooled = false"
            )
        opened = Pooled.connect(url, **self._manners(), prepare_threshold=None, cursor_factory=Cursor)
        opened.keep(self._settings())
        return opened

    def _url(self) -> str:
        return self.url if isinstance(self.url, str) else self.url()

    def _settings(self) -> dict[str, str]:
        waits = {
            "statement_timeout": self.statement_timeout,
            "lock_timeout": self.lock_timeout,
            "idle_in_transaction_session_timeout": "10s",
        }
        return {**waits, **READ_AS, **(BY_INDEX if self.by_index else {})}

    def _manners(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "application_name": self.name,
            "client_encoding": "UTF8",
            "connect_timeout": 3,
            "tcp_user_timeout": 15_000,  # a host that vanished is an outage, not a wait without end
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            **({"target_session_attrs": "primary"} if self.primary else {}),
        }

    def is_still_primary(self) -> None:
        """Ask, where a pooler may have put another server behind the connection; raises Unavailable."""
        if self.primary and self.pooled:
            with self.use() as connection:
                if connection.execute(SQL["is_standby"]).fetchone() != (False,):
                    self.close()
                    raise Unavailable("postgresql", "a standby answers, whose rows may be old")

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Lend the connection, and wrap what the driver raises: Unavailable, or Misconfigured where a grant lacks."""
        try:
            yield self.connection()
        except BUSY as error:
            raise Unavailable("postgresql", first_line(error)) from error
        except UNAVAILABLE as error:
            self.close()
            raise Unavailable("postgresql", first_line(error)) from error
        except errors.InsufficientPrivilege as error:
            raise Misconfigured(
                f"the database does not let this user do that ({first_line(error)}); "
                "storage-reconciler roles sql prints the grants for its owner to run"
            ) from error

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Lend the connection for a statement committed by itself; raises Busy where somebody was at the same rows."""
        with self.use() as connection:
            try:
                yield connection
            except BUSY as error:
                raise (Crowded if is_of_all(error) else Busy)(first_line(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Lend the connection in a transaction; raises Busy where somebody else was at the same rows."""
        with self.statement() as connection, connection.transaction():
            yield connection

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def is_of_all(error: psycopg.Error) -> bool:
    """Tell whether the lock that was waited for is no row's; a row's has its row in the error's context."""
    return isinstance(error, errors.LockNotAvailable) and error.diag.context is None


def options_of(url: str) -> str:
    """Return the options that a URL gives to its sessions."""
    return str(conninfo_to_dict(url).get("options", ""))


def first_line(error: BaseException) -> str:
    """Return an error's first line, which says what happened; the rest is context."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the application's tables raise against a write into Refused."""
    try:
        yield
    except errors.QueryCanceled as error:
        raise Refused(first_line(error)) from error
    except UNAVAILABLE:
        raise
    except psycopg.DatabaseError as error:
        raise Refused(first_line(error)) from error


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file, and the hash by which a changed file is noticed."""

    number: int
    text: str
    sha256: str


def migrations() -> list[Migration]:
    """Return the numbered .sql files, in order."""
    files = (resources.files("reconcile") / "sql").iterdir()
    found = sorted(file.name for file in files if re.fullmatch(r"\d{4}\.sql", file.name))
    texts = [(name, sql_file(name)) for name in found]
    return [Migration(int(name[:4]), text, hashlib.sha256(text.encode()).hexdigest()) for name, text in texts]


def pending(connection: Connection) -> list[Migration]:
    """Return the migrations that this database lacks; reads only."""
    if connection.execute("SELECT to_regclass('reconciler.migration')").fetchall() == [(None,)]:
        return migrations()
    applied = {number for (number,) in connection.execute("SELECT number FROM reconciler.migration")}
    return [migration for migration in migrations() if migration.number not in applied]


def migrate(connection: Connection) -> list[int]:
    """Apply what is missing in one transaction, under a lock taken before anything else; returns the numbers."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '60s'")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute("CREATE SCHEMA IF NOT EXISTS reconciler")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS reconciler.migration "
            "(number integer PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        missing = pending(connection)
        for migration in missing:
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO reconciler.migration (number, sha256) VALUES (%s, %s)",
                [migration.number, migration.sha256],
            )
    return [migration.number for migration in missing]
