"""The checks of the mapped tables: what does not fit, and what fits and will surprise somebody one day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from consumer.doctor.check import Check, Mark, of_fault, ok, warn
from consumer.doctor.checked import Checked
from consumer.runs.sides import PAGED
from reconcile.tables import catalog, condition
from reconcile.tables.columns import Index
from reconcile.tables.fitness import quoted, quoted_name
from reconcile.tables.template import is_template

MANY_ROWS = 1_000_000


def fits(checked: Checked) -> Iterator[Check]:
    """Tell every fault of the mapping against the tables as they are."""
    wanted = checked.settings.mapping
    with checked.reading() as connection:
        faults = catalog.check(connection, wanted, scanning=True)
    yield from _of_faults(checked, faults)
    if not faults:
        yield ok(f"{wanted.version.table} and what belongs to it are as configured")


def indexed(checked: Checked) -> Iterator[Check]:
    """Tell whether a row is found without reading a whole table."""
    with checked.reading() as connection:
        faults = catalog.check(connection, checked.settings.mapping)
    yield from _of_faults(checked, faults)
    if faults:
        return
    scans = checked.settings.mapping.allow_scan
    yield warn("not asked: mapping.allow_scan = true") if scans else ok("rows are found by an index, by key and by id")


def flags(checked: Checked) -> Iterator[Check]:
    """Tell whether a row could be flagged; as long as nothing is, or by us, what lacks is no fault."""
    settings = checked.settings
    if settings.mapping.version.status is None:
        yield ok("no status is mapped: only findings are written")
        return
    with checked.reading() as connection:
        faults = catalog.check(connection, settings.mapping, flagging=True, scanning=True)
        is_needed = settings.flagging and not condition.is_reader(connection)
    for found in _of_faults(checked, faults):
        yield found if is_needed else found._replace(mark=Mark.WARN)
    if not faults:
        mode = "is" if settings.flagging else "could be"
        yield ok(f"{settings.mapping.status.flag!r} {mode} set in {settings.mapping.version.status}")


def _of_faults(checked: Checked, faults: list[str]) -> Iterator[Check]:
    """Yield each fault, its grant made out to the role that we are."""
    for found in map(of_fault, faults):
        yield found._replace(fix=found.fix.replace(" TO our role", f" TO {quoted(checked.role)}"))


def unique_key(checked: Checked) -> Iterator[Check]:
    """Tell whether the database itself allows a key once only."""
    of = checked.mapping().tables
    if is_template(of.settings.version.key):
        yield ok("the key is composed of columns; see mapping.shared_keys")
        return
    columns = condition.key_columns(of)
    if index := condition.unique_by(of, columns):
        yield _unique(index, columns)
    else:
        yield warn(
            f"nothing keeps two rows from naming one key ({', '.join(columns)}): a delete for one removes the other's"
            " object",
            condition.unique_index(of, columns),
        )


def unique_number(checked: Checked) -> Iterator[Check]:
    """Tell whether the database itself allows a file's version number once only."""
    of = checked.mapping().tables
    version = of.settings.version
    if version.number is None or version.file_id is None:
        yield ok("no version number is mapped")
        return
    columns = [version.file_id, version.number]
    if index := condition.unique_by(of, columns):
        yield _unique(index, columns)
    else:
        yield warn(
            f"a file may have two versions of one number ({', '.join(columns)}), and which supersedes which is unclear",
            condition.unique_index(of, columns),
        )


def _unique(index: Index, columns: Sequence[str]) -> Check:
    """Say so, and of which rows: an application that deletes softly may use a key again."""
    among = f" among rows where {index.where}" if index.where else ""
    return ok(f"unique{among}: {', '.join(columns)}")


def shared_keys(checked: Checked) -> Iterator[Check]:
    """Tell whether several rows name one object now."""
    with checked.reading() as connection:
        found = condition.shared(connection, checked.mapping().tables)
    if found is None:
        yield warn(f"not counted: it takes longer than {condition.COUNTING}")
    elif found.keys:
        yield warn(
            f"{found.keys:,} keys are named by several rows, such as {found.example!r}: each is looked at, and flagged"
            " if the object goes",
            f"storage-reconciler explain {found.example!r}",
        )
    else:
        yield ok("no key is named by several rows")


def row_security(checked: Checked) -> Iterator[Check]:
    """Tell whether policies may hide rows, where that was allowed."""
    of = checked.mapping().tables
    hiding = [quoted_name(one) for one in (of.version, of.file) if one and one.hides_rows]
    if hiding:
        role = quoted(checked.role)
        yield warn(
            f"policies of {', '.join(hiding)} apply to us, and mapping.allow_row_security says that they show all",
            f"ALTER ROLE {role} BYPASSRLS",
        )
    else:
        yield ok("no row is hidden from us")


def triggers(checked: Checked) -> Iterator[Check]:
    """Tell what else an update of the status sets off."""
    of = checked.mapping().tables
    if of.settings.version.status is None:
        yield ok("no status is mapped: nothing is updated")
        return
    with checked.reading() as connection:
        found = condition.triggers(connection, of)
    status = quoted(of.settings.version.status)
    for name in found:
        yield warn(
            f"the trigger {name} fires when we set the status: a flag may change more than the status, or be refused",
            f"let it pass ours over, in its CREATE TRIGGER: WHEN (OLD.{status} IS NOT DISTINCT FROM NEW.{status})",
        )
    if not found:
        yield ok("no trigger fires when we set the status")


def orm_version(checked: Checked) -> Iterator[Check]:
    """Tell whether an ORM counts changes in a column that we do not raise."""
    of = checked.mapping().tables
    if of.settings.version.status is None:
        yield ok("no status is mapped: nothing is updated")
        return
    found = list(condition.orm_versions(of))
    for name in found:
        yield warn(
            f"{name} looks like an ORM's count of changes, and a flag does not raise it: a row that the application has"
            " loaded before is saved over the flag",
            f"let the application save the status only where it changed it; or map it, if {name} is the version's"
            f' number: mapping.version.number = "{name}"',
        )
    if not found:
        yield ok("no column counts changes")


def reading(checked: Checked) -> Iterator[Check]:
    """Tell how a sweep reads the rows of each bucket."""
    mapping = checked.mapping()
    with checked.reading() as connection:
        for bucket in checked.buckets():
            order = catalog.in_order(connection, mapping, bucket)
            if order.indexed:
                yield ok(f"{bucket}: {PAGED.replace('were', 'are').replace('was', 'is')}")
                continue
            told = (
                f"{bucket}: about {order.rows:,} rows are copied to a spool, sorted, since no index serves byte order"
            )
            key = quoted(mapping.tables.settings.version.key)
            index = f'CREATE INDEX CONCURRENTLY ON {quoted_name(mapping.tables.version)} ({key} COLLATE "C")'
            plain = not is_template(mapping.tables.settings.version.key)
            yield warn(told, index if plain else "") if order.rows > MANY_ROWS else ok(told)
    if not checked.buckets():
        yield warn("no live row names a bucket: nothing would be swept", "mapping.bucket.name, or --bucket")


def young_rows(checked: Checked) -> Iterator[Check]:
    """Tell what spares work."""
    found = [of_fault(one)._replace(mark=Mark.WARN) for one in catalog.advice(checked.mapping())]
    yield from found or [ok("young rows are found by an index, or are not looked for")]
