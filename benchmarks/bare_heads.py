"""The limit of all that looks: HEADs by our own transport, as many at once as a turn looks at, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence

from reconcile.config.settings import Settings
from reconcile.model import ObjectRef
from reconcile.opening import objects

AT_ONCE = 400
DEADLINE_S = 10.0


def heads_a_second(settings: Settings, bucket: str, keys: Sequence[str]) -> float:
    """Return how many of these objects our transport asks for a second, its first connections not counted."""
    refs = [ObjectRef(bucket, key) for key in keys]
    with objects(settings) as store:
        store.heads(refs[:AT_ONCE], DEADLINE_S)
        began = time.perf_counter()
        for start in range(0, len(refs), AT_ONCE):
            store.heads(refs[start : start + AT_ONCE], DEADLINE_S)
        return len(refs) / (time.perf_counter() - began)
