"""A command that kills itself at a point of a deletion: `python -m tests.support.dying POINT WORDS...`.

Points: `begun` (kept, nothing done yet), `copied` (its copy is made), `removed` (not noted yet).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from consumer.cli import main
from reconcile.store.storing import Storing

POINTS = {
    "begun": (("copy", False), ("hide", False)),
    "copied": (("copy", True),),
    "removed": (("remove", True),),  # a delete marker, too, is put by this
}


def dying(act: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Return the act, after or before which nothing follows."""

    def act_and_die(*given: Any) -> None:
        if after:
            act(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    return act_and_die


if __name__ == "__main__":
    for name, after in POINTS[sys.argv[1]]:
        setattr(Storing, name, dying(getattr(Storing, name), after=after))
    sys.exit(main(sys.argv[2:]))
