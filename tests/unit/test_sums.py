"""What drifts add up to."""

from datetime import UTC, datetime

from reconcile.sweeps import sums
from reconcile.sweeps.drift import Class, Drift

NOW = datetime(2025, 9, 7, tzinfo=UTC)


def test_however_many_prefixes_there_are_few_are_kept_and_the_largest_are_told(monkeypatch):
    """Each key may begin with a name of its own; in key order no large one is lost, nor is anything of it."""
    monkeypatch.setattr(sums, "NAMES", 100)
    sizes = {f"{number:04}/": 1 + 7 * (number % 50 == 3) for number in range(1_000)}
    added = sums.summed(
        (Drift(Class.ORPHAN, "b", f"{prefix}{n}", size_bytes=3) for prefix, many in sizes.items() for n in range(many)),
        NOW,
    )
    told = added.by("prefix")
    assert [(one.name, one.orphan, one.size_bytes) for one in told[:20]] == [
        (prefix, 8, 24) for prefix, many in sizes.items() if many == 8
    ]
    assert len(added.counts["prefix"]) <= 100
    assert added.total == sum(sizes.values()) == added.of_kind(Class.ORPHAN)
