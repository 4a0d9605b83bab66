"""What the stream may have missed, by comparing what was seen of topic, group and MinIO then and now. Pure.

Knows no server. Each loss says why in words; when it was, its two sightings bound. A sighting is kept as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

DATABASE_WENT_BACK = "database_went_back"
TOPIC_RECREATED = "topic_recreated"
OFFSET_RESET = "offset_reset"
RETENTION = "retention"
MINIO_RESTARTED = "minio_restarted"
MINIO_EVENTS_LOST = "minio_events_lost"
REASONS = (DATABASE_WENT_BACK, TOPIC_RECREATED, OFFSET_RESET, RETENTION, MINIO_RESTARTED, MINIO_EVENTS_LOST)
SAME_START_S = 1.0


class Place(msgspec.Struct, frozen=True):
    """One partition: what the group has committed (None: nothing), and where its records begin and end.

    `beat` is the heartbeat that our own commit carries, and `by` the process whose it is; None where somebody else set
    the offset.
    """

    committed: int | None
    beat: int | None
    low: int
    high: int
    by: str = ""


UNSEEN = Place(None, None, 0, 0)  # a partition before it was made


class Sight(msgspec.Struct, frozen=True):
    """What was seen at one moment, by the database's clock; what could not be asked is empty."""

    at: str
    topic: str = ""
    places: Mapping[int, Place] = {}
    starts: Mapping[str, float] = {}
    counts: Mapping[str, float] = {}


class Loss(NamedTuple):
    """Why a sweep is wanted: one of REASONS, and what was seen."""

    reason: str
    detail: str


def known(before: Sight, now: Sight) -> Sight:
    """Return what was seen now, and of what could not be asked what was known before."""
    topic = (now.topic, now.places) if now.places else (before.topic, before.places)
    return Sight(now.at, *topic, {**before.starts, **now.starts}, {**_of_absent(before, now), **now.counts})


def _of_absent(before: Sight, now: Sight) -> Mapping[str, float]:
    """Return the former counts of the servers that did not answer now."""
    return {name: count for name, count in before.counts.items() if not any(map(partial(_is_of, name), now.starts))}


def _is_of(count: str, server: str) -> bool:
    return count.endswith(f" on {server}")


def losses(before: Sight, now: Sight, beats: Mapping[str, int]) -> list[Loss]:
    """Return what may have been missed between two sightings; `beats` are the heartbeats that the database has."""
    if ahead := ahead_of(now, beats):  # all that was known before is older than it seems
        told = "; ".join(
            f"the heartbeat of {by} is {beats.get(by, 0)}, and the group has committed what it did at {beat}"
            for by, beat in sorted(ahead.items())
        )
        return [Loss(DATABASE_WENT_BACK, told)]
    return [*_of_topic(before, now), *_of_minio(before, now)]


def ahead_of(now: Sight, beats: Mapping[str, int]) -> dict[str, int]:
    """Return by process which heartbeats are committed that the database does not have."""
    places = [place for place in now.places.values() if place.beat is not None]
    latest = {by: max(place.beat or 0 for place in places if place.by == by) for by in {place.by for place in places}}
    return {by: beat for by, beat in latest.items() if beat > beats.get(by, 0)}


def caught_up(before: Sight, now: Sight) -> Sight:
    """Return the former sighting as if it had seen the group's own last commits: nothing was read since those."""
    places = {
        number: _later(place, now.places.get(number))
        for number, place in (before.places.items() if before.topic == now.topic else ())
    }
    return msgspec.structs.replace(before, places=places or before.places)


def _later(before: Place, now: Place | None) -> Place:
    if now is None or now.beat is None or now.committed is None or now.committed < (before.committed or 0):
        return before
    return msgspec.structs.replace(before, committed=now.committed, beat=now.beat, by=now.by)


def _of_topic(before: Sight, now: Sight) -> Iterator[Loss]:
    if not now.places:
        return
    if told := _recreated(before, now):
        yield Loss(TOPIC_RECREATED, told)
        return
    pairs = [(number, before.places.get(number, UNSEEN), place) for number, place in now.places.items()]
    reset = [
        f"partition {number}: {_offset(then)} -> {_offset(place)}"
        for number, then, place in pairs
        if _reset(then, place)
    ]
    if reset:
        yield Loss(OFFSET_RESET, f"not by a consumer: {'; '.join(reset)}")
    begun = any(place.beat is not None for place in before.places.values())  # a group that never read misses nothing
    gone = {number: place.low - _next(then) for number, then, place in pairs if begun and place.low > _next(then)}
    if gone:
        told = ", ".join(f"{count} of partition {number}" for number, count in gone.items())
        yield Loss(RETENTION, f"records that were not read are gone: {told}")


def _recreated(before: Sight, now: Sight) -> str:
    if before.topic and now.topic and before.topic != now.topic:
        return f"its id is {now.topic}, and was {before.topic}"
    for number, place in now.places.items():
        then = before.places.get(number)
        if then is not None and place.high < then.high:
            return f"partition {number} ends at {place.high}, and ended at {then.high}"
        if place.committed is not None and place.committed > place.high:
            return f"partition {number} ends at {place.high}, and {place.committed} is committed"
    return ""


def _reset(then: Place, now: Place) -> bool:
    """Tell whether an offset of ours was set by somebody else, went back, or is forgotten."""
    ours = then.beat is not None and then.committed is not None
    return ours and (now.committed is None or now.beat is None or now.committed < (then.committed or 0))


def _next(then: Place) -> int:
    """Return what the group was to read next; of a partition without a commit that is its oldest record."""
    return then.low if then.committed is None else max(then.committed, then.low)


def _offset(place: Place) -> str:
    return "none" if place.committed is None else str(place.committed)


def _of_minio(before: Sight, now: Sight) -> Iterator[Loss]:
    again = [
        server
        for server, start in now.starts.items()
        if server in before.starts and abs(start - before.starts[server]) > SAME_START_S
    ]
    if again:
        yield Loss(MINIO_RESTARTED, ", ".join(sorted(again)))
    rises = {name: count - _base(name, before, again) for name, count in now.counts.items() if before.counts}
    told = ", ".join(f"{name} by {rise:g}" for name, rise in sorted(rises.items()) if rise > 0)
    if told:
        yield Loss(MINIO_EVENTS_LOST, f"MinIO counts more: {told}")


def _base(name: str, before: Sight, again: list[str]) -> float:
    """Return from where a count goes on: from 0 where its server was restarted, or has not counted yet."""
    began_anew = any(map(partial(_is_of, name), again))
    return 0.0 if began_anew else before.counts.get(name, 0.0)
