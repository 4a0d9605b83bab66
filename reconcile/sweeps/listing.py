"""A bucket's objects as MinIO lists them, as pages of entries: LIST and versions. A file is listfile.py's.

Knows how S3 lists (docs/facts.md, Listing); must not know rows. What could be a short listing is never one: a page that
does not come, is broken, or does not say how to go on raises Unavailable, and a descending key raises OutOfOrder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import islice, pairwise, takewhile
from typing import NamedTuple, TypeVar
from urllib.parse import unquote_plus

from lxml import etree

from reconcile.model import Misconfigured, OutOfOrder, Unavailable
from reconcile.patience import patiently
from reconcile.store.heads import path_of
from reconcile.store.objects import Objects
from reconcile.sweeps.drift import Entry

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]
PROBES = 20  # requests that split() may send
_PAGE = 1000  # the most that S3 lists at once
_JUMPS = 4  # before a jump leaps farther
_HIGHEST = "\U0010ffff"
_PLAIN = (("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(_PAGE)))
_VERSIONS = (("versions", ""), ("encoding-type", "url"), ("max-keys", str(_PAGE)))
_ROWS = {"Contents", "Version", "DeleteMarker", "CommonPrefixes"}


class _Local(dict[str, str]):
    """Names of tags without their namespaces, each worked out once."""

    def __missing__(self, tag: str) -> str:
        return self.setdefault(tag, tag.rpartition("}")[2])


class Page(NamedTuple):
    """One page as the server sent it.

    `keys` has the delete markers' keys, too, `follow` what to ask for the next page with, None if this was the last.
    """

    keys: list[str]
    entries: list[Entry]
    prefixes: list[str]
    follow: Pairs | None


Ask = Callable[[Pairs], Page]


def listed(
    objects: Objects,
    bucket: str,
    prefix: str = "",
    lower: str = "",
    upper: str | None = None,
    *,
    versions: bool = False,
) -> Iterator[list[Entry]]:
    """Yield pages of the keys in (lower, upper] under the prefix, ascending in UTF-8 byte order.

    `s3_version` is filled with `versions` only, `null` for the null version. Raises Unavailable after some 10 s of
    trying, OutOfOrder, or Misconfigured where the bucket cannot be listed.
    """
    if prefix.startswith("/"):
        raise Misconfigured(
            f"prefix {prefix!r}: no key of MinIO's starts with a slash, so it lists nothing; leave it out"
        )
    if (upper is not None and upper <= lower) or (lower > prefix and not lower.startswith(prefix)):
        return iter(())
    ask = _asker(objects, bucket, versions=versions)
    return walk(ask, _narrowed(prefix, lower, upper), lower, upper, versions=versions)


def walk(ask: Ask, prefix: str, lower: str, upper: str | None, *, versions: bool) -> Iterator[list[Entry]]:
    """Yield the pages that `ask` gets; what listed() does once its range is known not to be empty."""
    query = (*(_VERSIONS if versions else _PLAIN), ("prefix", prefix))
    after = (("key-marker" if versions else "start-after", lower),)
    follow: Pairs | None = after if lower and lower.startswith(prefix) else ()
    last, told = lower, set[Pairs]()
    while follow is not None:
        page = ask((*query, *follow))
        last = _ascended(last, page.keys, equal=versions)
        if entries := [one for one in page.entries if upper is None or one.key <= upper]:
            yield entries
        follow = None if upper is not None and last > upper else page.follow
        if follow in told:
            raise Unavailable("minio", f"the listing does not go on after {last!r}")
        told |= {follow} if follow else set()


def parse(body: bytes, *, versions: bool = False) -> Page:
    """Read a page of ListObjectsV2 or ListObjectVersions; raises Unavailable where it is none, or not a whole one."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        return _page(etree.fromstring(body, parser), "ListVersionsResult" if versions else "ListBucketResult")
    except KeyError as error:
        raise Unavailable("minio", f"a page of the listing is broken: it has no {error.args[0]}") from error
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unavailable("minio", f"a page of the listing is broken: {error}") from error


def ahead(pages: Iterator[T], how_many: int = 2) -> Iterator[T]:
    """Yield the pages while a thread fetches the next ones; what it meets is raised in its place.

    Closing it waits for the page under way, ends the thread and closes `pages`.
    """
    pool = ThreadPoolExecutor(1, "ahead")
    try:
        waiting = deque(pool.submit(_next, pages) for _ in range(how_many))
        while page := waiting.popleft().result():
            waiting.append(pool.submit(_next, pages))
            yield page[0]
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(pages, Generator):
            pages.close()


def split(objects: Objects, bucket: str, prefix: str, wanted: int) -> list[str]:
    """Return ascending boundaries that cut a bucket along its directories into about `wanted` ranges or some more.

    The ranges are (b[i-1], b[i]], the first and the last without an end; empty where there is nothing to cut, such as
    in a flat bucket. Goes down level by level, first where most is seen, and sends at most 20 requests.
    """
    ask, left = _asker(objects, bucket), PROBES
    cuts, todo = set[str](), [(0, 0, prefix)]
    while todo and left and len(cuts) < wanted > 1:
        depth, _, above = heappop(todo)
        found, sent = _below(ask, above, left)
        left -= sent
        cuts -= {above} if found else set()  # the first below it stands for it
        cuts |= found
        for one in found:
            heappush(todo, (depth + 1, -len(found), one))
    step = max(1, len(cuts) // max(1, wanted))
    return sorted(cuts)[step::step]


def _below(ask: Ask, above: str, most: int) -> tuple[set[str], int]:
    """Return directories right below one, and how many requests it took; of very many a sample from end to end.

    After a page it jumps over all that begins as that page does, and the farther the longer it takes.
    """
    found, after, keep = set[str](), "", len(above) + _PAGE
    for sent in range(1, most + 1):
        page = ask((*_PLAIN, ("prefix", above), ("delimiter", "/"), *((("start-after", after),) if after else ())))
        seen = sorted([*page.keys, *page.prefixes])
        found.update(page.prefixes)
        if page.follow is None or not page.prefixes:
            return found, sent
        keep = max(len(above) + 1, min(keep - (sent % _JUMPS == 0), len(_shared(seen[0], seen[-1]))))
        after = seen[-1][:keep] + _HIGHEST
    return found, most


def _next(pages: Iterator[T]) -> list[T]:
    """Return the next page in a list, which is empty at the end."""
    return list(islice(pages, 1))


def _asker(objects: Objects, bucket: str, *, versions: bool = False) -> Ask:
    """Return what fetches and reads a page, and tries again what may pass."""

    def ask(pairs: Pairs) -> Page:
        return patiently(lambda: parse(objects.page(bucket, pairs), versions=versions))

    return ask


def _narrowed(prefix: str, lower: str, upper: str | None) -> str:
    """Return the longest prefix of all keys in the range, since MinIO's lister runs ahead to the end of a prefix."""
    shared = "" if upper is None else _shared(lower, upper)
    return shared if shared.startswith(prefix) and path_of("bucket", shared) else prefix


def _shared(one: str, other: str) -> str:
    """Return what both begin with."""
    return "".join(left for left, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _ascended(last: str, keys: Sequence[str], *, equal: bool) -> str:
    """Return the last key; raises OutOfOrder where one does not ascend. Code points sort as their UTF-8 bytes do."""
    for one, other in pairwise([last, *keys]):
        if other < one or (other == one and not equal):
            raise OutOfOrder(f"the listing descends: {other!r} comes after {one!r}")
    return keys[-1] if keys else last


def _page(root: etree._Element, expected: str) -> Page:
    """Read the elements by their names, whatever their order and namespace."""
    local = _Local()
    if root.getroottree().docinfo.internalDTD is not None or local[root.tag] != expected:
        raise ValueError(f"{local[root.tag][:64]!r} is no {expected}")
    decode = _decoded if root.findtext("{*}EncodingType") == "url" else str
    told, keys, entries, prefixes = dict[str, str](), list[str](), list[Entry](), list[str]()
    for element in root:
        name = local[element.tag]
        if name not in _ROWS:
            told[name] = element.text or ""
            continue
        row = {local[field.tag]: field.text or "" for field in element}
        if name == "CommonPrefixes":
            prefixes.append(decode(row["Prefix"]))
            continue
        keys.append(decode(row["Key"]))
        if name != "DeleteMarker":
            entries.append(_entry(keys[-1], name, row))
    return Page(keys, entries, prefixes, _follow(told, decode))


def _entry(key: str, name: str, row: dict[str, str]) -> Entry:
    size, etag, modified = int(row["Size"]), row.get("ETag", "").strip('"'), row.get("LastModified", "")
    if name == "Contents":
        return Entry(key, size, etag, modified)
    return Entry(key, size, etag, modified, row["VersionId"], row["IsLatest"] == "true")


def _follow(told: dict[str, str], decode: Callable[[str], str]) -> Pairs | None:
    """Say how to ask for the next page, None if there is none."""
    if told["IsTruncated"] == "false":
        return None
    if token := told.get("NextContinuationToken"):
        return (("continuation-token", token),)
    if marker := told.get("NextKeyMarker"):
        return ("key-marker", decode(marker)), ("version-id-marker", told.get("NextVersionIdMarker", ""))
    raise ValueError("it is truncated, and does not say where to go on")


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
