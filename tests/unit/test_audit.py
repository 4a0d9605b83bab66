"""How the answer of pip-audit is taken: what could not be asked for is not taken as whole."""

from deploy.local.audit import CLEAN, NOT_ASKED, VULNERABLE, judged

WHOLE = {"name": "a", "version": "1", "vulns": []}
KNOWN = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3", "4"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"}


def test_nothing_is_known_only_where_every_package_was_asked_for():
    """The tool itself ends with 0 where it asked for none."""
    assert judged({"dependencies": [WHOLE, WHOLE]})[0] == CLEAN
    status, lines = judged({"dependencies": [WHOLE, SKIPPED]})
    assert status == NOT_ASKED
    assert "1 of 2 packages were asked for" in lines[0]
    assert SKIPPED["skip_reason"] in lines[1]


def test_what_is_known_is_told_with_what_mends_it():
    """Also beside what could not be asked for."""
    status, lines = judged({"dependencies": [KNOWN, SKIPPED]})
    assert (status, lines[0]) == (VULNERABLE, "b 2: PYSEC-1, mended in 3, 4")
