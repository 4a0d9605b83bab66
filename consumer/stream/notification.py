"""The shape in which object stores tell an event, as far as we read it, and what of it is evidence. Pure.

Amazon S3 gave the shape, MinIO and others follow it; what is unknown in it is passed over.
"""

from __future__ import annotations

from sys import intern
from typing import Annotated

import msgspec

FACT_MOST = 1000  # of one value of the evidence: a user agent may be as long as its client likes

Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Bucket(msgspec.Struct, gc=False):
    """The bucket as an event names it."""

    name: str = ""


class Target(msgspec.Struct, rename="camel", gc=False):
    """The object as an event names it; `key` is decoded by the dialect."""

    key: str = ""
    size: Size | None = None
    etag: str = msgspec.field(default="", name="eTag")
    version_id: str = ""
    sequencer: str = ""


class Place(msgspec.Struct, gc=False):
    """The `s3` part of an event."""

    bucket: Bucket
    object: Target


class Identity(msgspec.Struct, rename="camel", gc=False):
    """Whose credentials made the request."""

    principal_id: str = ""


class Request(msgspec.Struct, rename="camel", gc=False):
    """The request's parameters; null in events that no request caused."""

    principal_id: str = ""
    source_address: str = msgspec.field(default="", name="sourceIPAddress")


class Response(msgspec.Struct, gc=False):
    """The elements of the response."""

    request_id: str = msgspec.field(default="", name="x-amz-request-id")


class Source(msgspec.Struct, rename="camel", gc=False):
    """The client; of an internal event the node."""

    host: str = ""
    user_agent: str = ""


class Event(msgspec.Struct, rename="camel", gc=False):
    """One event, in the shape S3 gave it; everything but the name and the place is evidence."""

    event_name: str
    s3: Place
    event_time: str = ""
    user_identity: Identity | None = None
    request_parameters: Request | None = None
    response_elements: Response | None = None
    source: Source | None = None


class Envelope(msgspec.Struct, gc=False):
    """What a record's value, or a line of the listen stream, wraps its events in."""

    records: list[Event] | None = msgspec.field(default=None, name="Records")


def share(event: Event) -> None:
    """Keep what many events say alike once for all of them, since they are held by the ten thousand."""
    event.event_name = intern(event.event_name)
    event.s3.bucket.name = intern(event.s3.bucket.name)
    if event.user_identity:
        event.user_identity.principal_id = intern(event.user_identity.principal_id)
    if event.request_parameters:
        event.request_parameters.principal_id = intern(event.request_parameters.principal_id)
        event.request_parameters.source_address = intern(event.request_parameters.source_address)
    if event.source:
        event.source.host = intern(event.source.host)
        event.source.user_agent = intern(event.source.user_agent)


def told(event: Event) -> dict[str, str]:
    """Return the texts of the evidence by name, without those that are empty."""
    identity = event.user_identity or Identity()
    request = event.request_parameters or Request()
    response = event.response_elements or Response()
    source = event.source or Source()
    target = event.s3.object
    said = {
        "event": event.event_name,
        "event_time": event.event_time,
        "principal": identity.principal_id or request.principal_id,
        "source_address": request.source_address or source.host,
        "user_agent": source.user_agent,
        "request_id": response.request_id,
        "sequencer": target.sequencer,
        "s3_version": target.version_id,
        "etag": target.etag,
    }
    return {name: _presentable(text) for name, text in said.items() if text}


def _presentable(text: str) -> str:
    """Shorten a value of the evidence, and drop the one character that PostgreSQL's text cannot hold."""
    return text[:FACT_MOST].replace("\0", "")
