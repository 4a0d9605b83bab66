"""The disk of the spool is full in the middle of a copy."""

import json
import sys

import pytest

from tests.support import consuming

ROOM = 16_384  # bytes that any file may have
ROWS = """
INSERT INTO file_versions (version_number, object_key, size)
SELECT 1, format('gone/%s', lpad(n::text, 6, '0')), 10 FROM generate_series(1, 5000) AS n
"""
SMALL = f"""
import resource, sys
sys.dont_write_bytecode = True  # it would be cut off, too
resource.setrlimit(resource.RLIMIT_FSIZE, ({ROOM}, {ROOM}))
from consumer.cli import main
sys.exit(main())
"""


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application."""
    with consuming.superuser_site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


def test_a_sweep_whose_spool_is_full_says_so_and_keeps_nothing(site, tmp_path):
    """No traceback, no lease that stays, nothing half compared; where there is room the next one finds everything."""
    site.sql(ROWS)
    site.put("orphan")
    words = ("sweep", "--spool", str(tmp_path), "--margin", "0", "-o", "json")
    small = site.program.__class__(site.program.file, site.program.environ, site.bucket, (sys.executable, "-c", SMALL))
    ended = small.process(*words)
    assert ended.returncode == 2, ended.stderr
    assert f"--spool {tmp_path}: has no room for a copy (File too large); name another directory" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert site.sql("SELECT count(*) FROM reconciler.drift") == [(0,)]
    report = json.loads(site.program.run(*words, "--believe", "--why", "all are gone").stdout)
    assert (report["state"], report["total_drifts"]) == ("complete", 5001)
