"""Serves the status page over a database, and asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg

from consumer.counting import Counting
from consumer.duties import counted, rulewatch
from consumer.pages import site
from consumer.pages.troubles import Process
from consumer.web import Probes, Site, Web
from reconcile.config.settings import Settings
from reconcile.database import Database
from tests.support import consuming
from tests.support.scraping import Page

WELL = Process("", "", 4)


@contextmanager
def serving(
    settings: Settings, process: Callable[[], Process] = lambda: WELL, lanes: Sequence[str] = ()
) -> Iterator[Page]:
    """Serve the pages beside metrics and probes, and lend where."""
    stop = threading.Event()
    own = Database(settings.database.url, patience_s=0.2)
    pages = site.opened(settings, own.another(), process, lanes, "storage-reconciler --config /etc/reconciler.toml")
    web = Web(Site(Probes(Counting(), own), pages), "127.0.0.1", 0)
    with consuming.beside(lambda: web.run(stop.wait), stop):
        yield Page(web.port)
    web.close()
    pages.close()
    own.close()


HOSTILE = "users/\u202egnp.exe/<script>alert(1)</script>/\x07\u200b\"'&lt;/ü" + "k" * 300
SEED = (Path(__file__).with_name("bad_night.sql")).read_text("utf-8")
COUNTED = counted.Counted(
    at=0.0,
    kinds={
        "missing": counted.OfKind(suspected=18, open=69, flagged=69, held=43, size_bytes=7 << 30),
        "mismatch": counted.OfKind(),
        "orphan": counted.OfKind(suspected=9, open=34, size_bytes=4 << 30),
        "leftover": counted.OfKind(),
    },
    groups={"crm": 97, "": 21, "a<b>&\u202e": 12},
    looks_due=3,
    lag_records=12_840,
    lag_s=42.5,
    dead_letters=2,
)
LACKING = {"files": rulewatch.Watched("narrowed", ("s3:ObjectRemoved:*",), changed_at=1.7e9)}


def seed(connection: psycopg.Connection) -> None:
    """Make a bad night: a brake, a mass of findings with hostile words, lost events, a rule that was narrowed."""
    [(now,)] = connection.execute("SELECT extract(epoch FROM now())::float8").fetchall()
    told = msgspec.structs.replace(COUNTED, at=now)
    told.kinds["missing"].oldest_at = now - 54_600
    given = {"counted": encoded(told), "rules": encoded(LACKING), "hostile": HOSTILE}
    with psycopg.ClientCursor(connection) as cursor:  # several statements at once
        cursor.execute(SEED.replace(" % ", " %% ").encode(), given)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE reconciler.finding")


def encoded(told: object) -> str:
    """Return JSON as it is kept."""
    return msgspec.json.encode(told).decode()
