"""The third side of a sweep: what is open, a page at a time beside the blocks of the comparison."""

from hypothesis import given
from hypothesis import strategies as st

from reconcile.model import ObjectRef
from reconcile.sweeps.sweep import Findings

KEYS = st.text("ab", min_size=1, max_size=3)


def of(keys: list[str]) -> list[ObjectRef]:
    """Return references to these keys, in order."""
    return [ObjectRef("b", key) for key in sorted(keys)]


@given(st.sets(KEYS), st.sets(KEYS), st.just("") | KEYS)
def test_each_block_is_given_what_is_open_up_to_its_end_and_the_last_the_rest(keys, ends, lower):
    """Whatever the pages of two and the blocks are: each once, none of before the checkpoint, and none too early."""
    open_ones = of(list(keys))
    findings = Findings(lambda after: [one for one in open_ones if one.key > after][:2], lower)
    before = lower
    for end in sorted(one for one in ends if one > lower):
        assert list(findings.upto(end)) == [one for one in open_ones if before < one.key <= end]
        before = end
    assert list(findings.upto(None)) == [one for one in open_ones if before < one.key]
    assert list(findings.upto(None)) == []


def test_it_is_asked_for_once_more_than_it_has_pages():
    """Also where a key has many: each question is from the last key on, and one without an answer is the last."""
    asked = []
    pages = {"": of(["a", "b"]), "b": of(["c", "d"]), "d": []}
    findings = Findings(lambda after: asked.append(after) or pages[after], "")
    assert [one.key for end in ("a", "b", "c", None, None) for one in findings.upto(end)] == ["a", "b", "c", "d"]
    assert asked == ["", "b", "d"]
