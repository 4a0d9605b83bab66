"""Filters: each pattern means what the documentation says."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconcile.config.filters import MOST_CHOICES, BadPattern, watched

MATCHES = [
    ("*.part", "x.part", True),
    ("*.part", "a/b/x.part", True),
    ("*.part", "x.part/y", False),
    ("/*.part", "a/x.part", False),
    ("a*c", "abc", True),
    ("a*c", "a/c", False),
    ("a**c", "a/b/c", True),
    ("ab", "xab", False),
    ("ab", "x/ab", True),
    ("b/c", "a/b/c", True),
    ("/b/c", "a/b/c", False),
    ("?", "ж", True),
    ("a?b", "a/b", False),
    ("[a-c]x", "bx", True),
    ("[!a-c]x", "bx", False),
    ("[^a-c]x", "dx", True),
    ("a[!x]b", "a/b", False),
    ("[]x]", "]", True),
    ("[a\\]]", "]", True),
    ("[[x]", "[", True),
    ("{a,b*}/c", "bbb/c", True),
    ("{a,}x", "x", True),
    ("a,b", "a,b", True),
    ("\\*", "*", True),
    ("\\*", "x", False),
    ("a\\{b", "a{b", True),
    ("tmp/", "tmp/x/y", True),
    ("tmp/", "a/tmp/x", True),
    ("/tmp/", "a/tmp/x", False),
    ("tmp/", "tmp", False),
    ("tmp/", "tmp/", True),
    ("**", "line\nbreak", True),
    ("*", "line\nbreak", True),
    ("a", "a\n", False),
    (".", "x", False),
    ("A", "a", False),
    ("фото/*", "фото/1", True),
]


@pytest.mark.parametrize(("pattern", "key", "matches"), MATCHES)
def test_a_pattern_matches(pattern, key, matches):
    """As an inclusion it admits what it matches, as an exclusion it refuses the same."""
    assert watched([pattern], [])(key) is matches
    assert watched([], [pattern])(key) is not matches


def test_an_exclusion_always_wins():
    """The order of patterns does not count."""
    is_watched = watched(["a/**"], ["*.tmp", "/a/b/"])
    assert [key for key in ("a/x", "a/x.tmp", "a/b/x", "c/x", "c/a/x") if is_watched(key)] == ["a/x", "c/a/x"]


@pytest.mark.parametrize(("include", "exclude"), [([], []), (["**"], []), ([], ["x"]), (["**"], ["x"])])
def test_what_is_ours_is_never_watched(include, exclude):
    """Our own prefix is not the application's; only at the start of the bucket."""
    is_watched = watched(include, exclude)
    assert not is_watched(".storage-reconciler/kept/a")
    assert is_watched("a/.storage-reconciler/b")
    assert is_watched("a")


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "a[b", "a\\", "a***b", "{a", "a}", "{a{b}}", "[]", "[!]", "[z-a]", "[a--b]", "{a,b,c,d}" * 4],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern):
    """A filter that silently matches nothing would hide files from us."""
    with pytest.raises(BadPattern):
        watched([pattern], [])


@given(st.text())
def test_any_text_is_a_pattern_or_refused(text):
    """No pattern is a crash, and what compiles answers for any key."""
    try:
        is_watched = watched([text], [])
    except BadPattern:
        return
    assert is_watched(text) in (True, False)


@given(st.text(min_size=1).filter(lambda key: key.strip("/") and not key.startswith("/") and not key.endswith("/")))
def test_an_escaped_key_matches_itself(key):
    """Every character can be meant."""
    pattern = "/" + re.sub(r"([\[\]{}*?\\,])", r"\\\1", key)
    assert watched([pattern], [])(key)
    assert not watched([pattern], [])(key + "x")


PIECES = {
    "a": "a", "b": "b", "/": "/", "?": "[^/]", "[!a]": "[^a/]", "*": "[^/]*", "**": ".*", "{a,ab*}": "(?:a|ab[^/]*)",
    "{a/,**b,}": "(?:a/|.*b|)",
}  # fmt: skip


@settings(max_examples=500)
@given(st.lists(st.sampled_from(list(PIECES)), min_size=1, max_size=7), st.text("ab/", max_size=9), st.booleans())
def test_a_pattern_matches_what_trying_everything_would_find(pieces, key, anchored):
    """That no star is tried anew loses nothing."""
    pattern = "/" * anchored + "".join(pieces)
    assume(pattern.strip("/") and (anchored or pieces[0] != "/"))
    assume(3 ** pattern.count("{") < MOST_CHOICES)
    assume(not any(one.endswith("*") and after.startswith("*") for one, after in pairwise(pieces)))
    plain = (r"\A" if anchored else r"(?:\A|(?<=/))") + "".join(PIECES[piece] for piece in pieces)
    expected = re.search(plain + (".*" if pieces[-1] == "/" else "") + r"\Z", key) is not None
    assert watched([pattern], [])(key) is expected


@pytest.mark.parametrize("pattern", ["**/a/**/a/**/*.part", "/**a*a**a*a**a*a*.part", "{a*,a/**}a**{a,a/*}a*a**a.part"])
@pytest.mark.parametrize("key", ["a/" * 512, "a" * 1024, "aa/" * 341])
def test_no_key_takes_long(pattern, key):
    """Whoever uploads chooses keys: the longest ones are answered within a second, ten times."""
    is_watched = watched([pattern], [])
    began = time.process_time()
    assert not any(is_watched(key) for _ in range(10))
    assert time.process_time() - began < 1
