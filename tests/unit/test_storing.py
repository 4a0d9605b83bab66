"""What is read of a listing of one key's versions."""

from itertools import chain, repeat
from types import SimpleNamespace

from reconcile.store.storing import PAGE, of_key


def test_all_of_a_key_is_read_and_of_what_only_begins_so_a_page():
    """However many there are: its markers come after the versions of others, but on the same page."""
    own, other = SimpleNamespace(object_name="k", nth=1), SimpleNamespace(object_name="k1")
    marker = SimpleNamespace(object_name="k", nth=2)
    assert list(of_key("k", chain([own], [other] * (PAGE - 2), [marker], repeat(other)))) == [own, marker]
