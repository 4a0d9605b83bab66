"""A command whose loop stands still once it reads, as in a driver's call: `python -m tests.support.standing WORDS...`.

No signal is heard meanwhile, as there; a tick of the watch is short.
"""

from __future__ import annotations

import signal
import sys
from threading import Event
from typing import Any

from consumer import standstill
from consumer.cli import main
from consumer.kafka.member import Member

TICK_S = 0.15  # nine seconds, since it has to join first


def never(*_: Any) -> None:
    """Stand still."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    Event().wait()


if __name__ == "__main__":
    Member.commit, standstill.TICK_S = never, TICK_S  # type: ignore[assignment]
    sys.exit(main())
