"""`consume`: the always-on service, from its preconditions to its end. A signal sets a flag and the end's clocks."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from types import FrameType

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.runs.rights import may_write
from consumer.service import serve, words
from consumer.standstill import LAST_WORDS_S, cut_off, unwind, wind
from reconcile import inquiry
from reconcile.config.settings import NEEDED, Settings
from reconcile.database import pending
from reconcile.model import Misconfigured
from reconcile.reports.forms import Section
from reconcile.tables.catalog import check

END_WITHIN_S = 4.5  # whatever still runs then is cut off, which is no different from a crash: nothing is lost by it


def consume(call: Call) -> Answer:
    """Consume until a signal says that it is enough; with --dry-run only say what would run."""
    settings = call.settings(*NEEDED, "kafka")
    faults = preconditions(settings)
    if faults:
        raise Misconfigured(*faults)
    if call.options.dry_run:
        return Answer(intention(settings))
    ending = Ending()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ending.begin)
    try:
        total = serve(settings, ending.stop, call.program())
    finally:
        ending.over()
    return Answer(Section("consumed", "", dict(words(total))), interrupted=ending.number == signal.SIGINT)


def preconditions(settings: Settings) -> list[str]:
    """Return everything that has to be put right before anything is consumed."""
    faults = []
    with database(settings) as opened, opened.use() as connection, inquiry.explaining():
        missing = pending(connection)
        if missing:
            numbers = ", ".join(f"{migration.number:04d}" for migration in missing)
            faults.append(f"schema reconciler: lacks migrations {numbers}; run storage-reconciler migrate --apply")
        elif not may_write(connection):
            faults.append("schema reconciler: may not be written; storage-reconciler roles sql prints the grants")
        faults += check(connection, settings.mapping, flagging=settings.flagging)
    return faults


def intention(settings: Settings) -> Section:
    """Return what would run."""
    return Section(
        "consume",
        "",
        {
            "topic": settings.stream.topic,
            "group": str(settings.kafka.get("group.id", "storage-reconciler")),
            "dead_letter_topic": settings.stream.dead_letter_topic,
            "express_lane": settings.stream.express,
            "flagging": settings.flagging,
        },
        notes=("every precondition holds; nothing was read, written or committed",),
    )


@dataclass
class Ending:
    """The word to stop, and who said it; what does not follow in time is cut off."""

    stop: threading.Event = field(default_factory=threading.Event)
    number: int = 0
    cut: threading.Timer | None = None

    def begin(self, number: int, _: FrameType | None) -> None:
        """Note the signal; a second one changes nothing. A thread's defect may have told to stop before."""
        if self.cut is None:
            self.number = number
            self.stop.set()
            told = {"after_s": END_WITHIN_S, "why": "a server did not answer in time for an orderly end"}
            self.cut = threading.Timer(END_WITHIN_S, cut_off, kwargs=told)
            self.cut.daemon = True
            self.cut.start()
            wind(END_WITHIN_S + 2 * LAST_WORDS_S)

    def over(self) -> None:
        """Call the cutting off, since the end has come by itself."""
        if self.cut is not None:
            self.cut.cancel()
        unwind()
