"""`sweep --dismiss`: sweeps that are wanted no more, such as those of a bucket that is gone."""

from __future__ import annotations

from functools import partial

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from consumer.commands.plan import Act, carry_out
from consumer.commands.suppress import shown
from consumer.duties import losswatch
from consumer.duties.losswatch import LossWindow
from reconcile import inquiry
from reconcile.acts import Who
from reconcile.database import Database
from reconcile.model import Misconfigured

NO_WHY = "--dismiss: needs --why TEXT, which is kept: what the stream missed in that window, nobody will look for"
NO_BUCKET = "no bucket that was known"
OVER = "it is wanted no more already"


def dismiss(call: Call) -> Answer:
    """Dismiss wanted sweeps by their ids."""
    options = call.options
    if not options.why.strip():
        raise Misconfigured(NO_WHY)
    with database(call.settings("database.url"), patient=True) as opened:
        with inquiry.reading(opened) as connection:
            wanted = {one.id: one for one in losswatch.wanted(connection)}
        if absent := sorted(set(options.dismiss) - wanted.keys()):
            raise Misconfigured(f"sweep {', '.join(map(str, absent))}: is not wanted; status lists those that are")
        who = Who(call.who(), options.why.strip())
        acts = [act(opened, who, wanted[number]) for number in dict.fromkeys(options.dismiss)]
        return carry_out("dismiss", acts, apply=options.apply, nothing="")


def act(opened: Database, who: Who, wanted: LossWindow) -> Act:
    """Return the act that dismisses one, with why it is wanted."""
    window = f"{wanted.reason}, {shown(wanted.since)} to {shown(wanted.until)}: {wanted.detail}"
    subject = f"sweep {wanted.id} of {wanted.bucket or NO_BUCKET}"
    return Act("dismiss", subject, window, partial(one, opened, who, wanted.id))


def one(opened: Database, who: Who, number: int) -> str | None:
    """Dismiss one."""
    return None if losswatch.dismiss(opened, who, number) else OVER
