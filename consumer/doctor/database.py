"""The checks of the database itself: reached, writable, our schema in it, and ours to work with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumer.doctor.check import Check, bad, ok, unseen, warn
from consumer.doctor.checked import Checked
from consumer.runs import rights as allowed
from reconcile.database import Migration, migrations, pending
from reconcile.tables import condition
from reconcile.tables.fitness import quoted

MIGRATE = "storage-reconciler migrate --apply"
ROLES = "storage-reconciler roles list"
INIT = "storage-reconciler init --only database --apply, or have its owner run storage-reconciler init --sql"


def reached(checked: Checked) -> Iterator[Check]:
    """Tell which server lets us in, and as whom."""
    with checked.reading() as connection:
        version, database, checked.role = condition.server(connection)
    yield ok(f"PostgreSQL {version}, database {database!r}, as {checked.role!r}")


def writes(checked: Checked) -> Iterator[Check]:
    """Tell whether anything can be kept there."""
    with checked.reading() as connection:
        refusal = allowed.cannot_write(connection)
    found, _, fix = refusal.partition("; ")
    yield bad(found, fix) if refusal else ok("it takes writes: no standby, not read-only")


def schema(checked: Checked) -> Iterator[Check]:
    """Tell whether our schema is there and up to date; who has no stream may do without."""
    with checked.reading() as connection:
        missing = pending(connection)
    numbers = ", ".join(f"{one.number:04d}" for one in missing)
    if is_nowhere(missing) and not checked.settings.kafka:
        yield warn("there is no schema reconciler: explain and sweeps work without, but nothing is kept", INIT)
    elif is_nowhere(missing):
        yield bad("there is no schema reconciler; only sweeps and explain work without", INIT)
    elif missing:
        yield bad(f"the schema reconciler lacks the migrations {numbers}", MIGRATE)
    else:
        yield ok("the schema reconciler is up to date")


def rights(checked: Checked) -> Iterator[Check]:
    """Tell whether we may work with our own tables; who is to look alone need not."""
    with checked.reading() as connection:
        missing = pending(connection)
        closed = condition.unwritable(connection)
        is_reader = condition.is_reader(connection)
    if is_nowhere(missing):
        yield unseen("not checked: schema first")
        return
    if is_reader:
        yield warn(f"{checked.role!r} reads its tables and writes none: what keeps something needs another role", ROLES)
        return
    grant = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO {quoted(checked.role)}"
    yield bad(f"not to be read and written: {', '.join(closed)}", grant) if closed else ok("its tables are ours to use")


def is_nowhere(missing: Sequence[Migration]) -> bool:
    """Tell whether nothing of our schema is there."""
    return len(missing) == len(migrations())
