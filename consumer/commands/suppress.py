"""`suppress add`, `list` and `lift`: windows in which drift is observed and nothing is flagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from reconcile import inquiry, windows
from reconcile.acts import Who
from reconcile.config.filters import below
from reconcile.config.settings import Settings
from reconcile.database import Database
from reconcile.human import Value
from reconcile.inquiry import Record
from reconcile.model import Misconfigured
from reconcile.opening import named_buckets
from reconcile.reports.forms import Table
from reconcile.windows import Window

COLUMNS = ("id", "bucket", "keys", "since_at", "until_at", "set_by", "why", "state")
EVERYTHING = "all"


def add(call: Call) -> Answer:
    """Set a window; while it is on, what it covers stays suspected and is not flagged."""
    options = call.options
    settings = call.settings("database.url")
    if not options.why:
        raise Misconfigured("--why is missing: whoever sees that nothing is flagged must be able to read the reason")
    require_bucket(settings, options.bucket)
    with database(settings, patient=True) as opened:
        with inquiry.reading(opened) as connection:
            until = end(options.until, inquiry.now(connection))
            window = Window(options.bucket, below(options.prefix) if options.prefix else None, until)
            covered = windows.how_many(connection, window)
        who = Who(call.who(), options.why)
        detail = f"until {shown(until)}; it covers {covered:,} findings by now: those that are flagged stay flagged"
        act = Act("suppress", named(window.bucket, window.pattern), detail, partial(set_one, opened, who, window))
        return carry_out("suppress", (act,), apply=options.apply, nothing="")


def set_one(opened: Database, who: Who, window: Window) -> str:
    """Set the window and name it."""
    return f"window {windows.add(opened, who, window)}, until {shown(window.until)}"


def require_bucket(settings: Settings, bucket: str) -> None:
    """Refuse a bucket that nothing of ours is in: it would be taken for a window, and hold nothing."""
    known = named_buckets(settings)
    any_other = settings.mapping.bucket.column is not None and not settings.mapping.bucket.map
    if known and not any_other and bucket not in known:
        raise Misconfigured(f"--bucket {bucket!r}: is none of those that are watched: {', '.join(known)}")


def end(until: timedelta | datetime, now: datetime) -> datetime:
    """Return the time that is meant by a duration from now on, or by a time."""
    at = now + until if isinstance(until, timedelta) else until
    if at <= now:
        raise Misconfigured(f"--until {shown(at)}: is over; the database's time is {shown(now)}; name a later one")
    return at


def shown(at: datetime) -> str:
    """Return a time as a person reads it, whatever the session's zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def named(bucket: str, pattern: str | None) -> str:
    """Name what a window covers."""
    return f"{bucket}: {pattern or 'every key'}"


def listing(call: Call) -> Answer:
    """List the windows that are on, or all that are kept."""
    with database(call.settings("database.url")) as opened, inquiry.reading(opened) as connection:
        found = windows.every(connection, closed=call.options.all)
        return Answer(Table("windows", COLUMNS, list(rows(found)), none="no window is on"), inquiry.now(connection))


def rows(found: Sequence[Record]) -> Iterator[Sequence[Value]]:
    """Yield windows as they are listed."""
    for number, bucket, pattern, since, until, actor, why, is_over, lifted_at, lifted_by in found:
        state = f"ended by {lifted_by}" if lifted_at else "over, and being looked at again" if is_over else "on"
        yield number, bucket, pattern or EVERYTHING, since, until, actor, why, state


def lift(call: Call) -> Answer:
    """End windows before their time; everything that they covered is looked at again at once."""
    options = call.options
    with database(call.settings("database.url"), patient=True) as opened:
        with inquiry.reading(opened) as connection:
            on = {one[0]: one for one in windows.every(connection, closed=False) if not one[7]}
        if absent := sorted(set(options.ids) - on.keys()):
            raise Misconfigured(f"window {', '.join(map(str, absent))}: is not on; suppress list names those that are")
        who = Who(call.who(), options.why)
        acts = [
            Act("lift", f"window {number}", named(*on[number][1:3]), partial(lift_one, opened, who, number))
            for number in dict.fromkeys(options.ids)
        ]
        return carry_out("lift", acts, apply=options.apply, nothing="")


def lift_one(opened: Database, who: Who, number: int) -> str:
    """Lift one, and tell what comes of it."""
    asked = windows.lift(opened, who, number)
    return "it is over already" if asked is None else f"{asked:,} findings are looked at again"
