"""`sweep` of a hundred thousand objects on a MinIO of its own, which keeps them in memory where there is room."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.local import minio as minios
from deploy.local.minio import Minio
from deploy.local.place import Place, Way
from reconcile.database import migrate
from tests.support import command, sweeping
from tests.support.sweeps import AT_ONCE, WORDS, found, number_of, swept
from tests.support.waiting import until

MANY = 100_000
MEMORY, ROOM = Path("/dev/shm"), 2 << 30
MOST_KB = 100_000_000 // 1024


@pytest.fixture
def roomy(stack_place, kafka) -> Iterator[Minio]:
    """Start a MinIO whose disk is memory, if there is enough."""
    if stack_place.way is not Way.NATIVE:
        pytest.skip("a server that is not ours is filled object by object; RECONCILER_TEST_LONG=1 does that elsewhere")
    memory = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None
    with tempfile.TemporaryDirectory(prefix="reconciler-scale-", dir=memory) as directory, ExitStack() as exits:
        yield minios.find_or_start(Place(Path(directory), exits, Way.NATIVE), kafka)


def watched(process: subprocess.Popen[str]) -> int:
    """Wait for a process's end, and return the most memory that it was seen to have, in kB."""
    seen = [0]

    def over() -> bool:
        told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text("utf-8"))
        seen.append(int(told[1]) if told else 0)  # none once it has ended
        return process.poll() is not None

    until(over, 120, "the sweep's end")
    return max(seen)


@pytest.mark.timeout(180)
def test_a_hundred_thousand_are_swept_in_little_memory_and_from_any_page_on(tmp_path, database, connection, roomy):
    """Every drift and no other, within 100 MB; killed at a random page and resumed it comes to the same."""
    bucket = sweeping.large_bucket(roomy, MANY)
    sweeping.large_rows(connection, MANY)
    migrate(connection)
    program = command.program(tmp_path, database, roomy, bucket, {})
    file = tmp_path / "report.json"
    with program.running(*WORDS, "--output-file", str(file), **AT_ONCE) as sweep:
        most_kb = watched(sweep)
    assert sweep.returncode == 0, program.log()
    undisturbed = json.loads(file.read_text("utf-8"))
    assert found(undisturbed) == sweeping.drifts_of(MANY)
    totals = {name: undisturbed["totals"][name] for name in sweeping.TOTALS}
    assert totals == sweeping.totals_of(MANY)
    assert 0 < most_kb < MOST_KB
    page = random.randint(2, MANY // 1000 - 10)  # noqa: S311
    sweeping.killed_at(program, "advanced", page, *WORDS, **AT_ONCE)
    killed = number_of(connection)
    sweeping.expire(connection)
    report = swept(program, "--resume")
    assert report["id"] == killed
    assert found(report) == found(undisturbed), f"killed at page {page}"
    assert {name: report["totals"][name] for name in totals} == totals, f"killed at page {page}"
