"""What a story must have to show a mutant, of those that few show: only such stories are played of it."""

from collections.abc import Callable
from typing import Any

from tests.simulation.story import Story


def needs(*verbs: tuple[str, Any], **setting: Any) -> Callable[[Story], bool]:
    """Return whether a story has such a setting and all of these: a verb, and what it says first, if that is asked."""

    def fits(story: Story) -> bool:
        said = {(one.verb, first) for one in story.actions for first in (None, *one.args[:1])}
        return said.issuperset(verbs) and all(getattr(story.setting, name) == value for name, value in setting.items())

    return fits


def removed_first(story: Story) -> bool:
    """Tell whether a key is uploaded and removed before a row names it."""
    removed: dict[str, bool] = {}
    for verb, args in ((one.verb, one.args) for one in story.actions):
        if verb == "put":
            removed.setdefault(args[0], False)
        elif verb == "remove" and args[0] in removed:
            removed[args[0]] = True
        elif verb == "row" and removed.get(args[1]):
            return True
    return False


NEEDS: dict[str, Callable[[Story], bool]] = {
    "1: purged on a time-out": needs(("person", "purge"), ("fault", "slow")),
    "2: poison is dropped": needs(("poison", None)),
    "2: what is not asked is forgotten": needs(("fault", "room")),
    "5: another status is given back": needs(("status", None)),
    "5: flagged again": needs(("status", None)),
    "6: deleted as it was approved": needs(("person", "approve"), ("person", "delete")),
    "6: a withdrawal comes too late": needs(("person", "approve"), ("person", "delete")),
    "6: an approval outlives its reason": needs(("person", "approve")),
    "7: there is no brake": needs(brake="few"),
    "7: flags have no brake": needs(brake="few"),
    "7: orphans have no brake": needs(brake="few"),
    "7: purges have no brake": needs(brake="few"),
    "7: more than half of a bucket is believed": needs(brake="half a bucket"),
    "7: a window holds nothing": needs(("restrain", "suppress")),
    "7: a rule is not asked where it would open": needs(("restrain", "ignore")),
    "7: a rule is not asked where it begins": needs(("restrain", "ignore")),
    "8: a removal is not remembered": removed_first,
    "8: a removal is forgotten by the clock (found)": removed_first,
    "8: an ETag does not count at a glance": needs(("rewrite", None), etags=True),
    "8: an ETag does not count": needs(("rewrite", None), etags=True),
    "8: a refused flag is not tried again": needs(("refuse", None)),
    "8: a version that is not the latest stands for it (found)": needs(versions="rows"),
    "8: a sighted version is not looked at (found)": needs(versions="rows"),
    "9: flagged while observing": needs(flagging=False),
}
