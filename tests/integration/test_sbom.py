"""The bill of materials: made by CycloneDX's own tool from what is locked, and with nothing left out."""

import re
import shutil
import subprocess

import pytest

from deploy.image import sbom
from deploy.local.sbom import of_the_lock
from tests.support.command import ROOT
from tests.support.locking import canonical, locked

PAGE = (ROOT / "docs/dependencies.md").read_text("utf-8")
STATED = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \|", PAGE, re.MULTILINE))
SHORT = {"BSD License": "BSD-3-Clause", "MIT License": "MIT", "ZPL 2.1": "Zope Public License"}


@pytest.fixture(scope="module")
def bill(shown) -> dict:
    """Give the bill of an installation."""
    with shown():
        return of_the_lock()


def test_it_names_all_that_is_locked_and_us_at_its_root(bill):
    """Each package with the version of the lock, and none besides."""
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "storage-reconciler")
    assert {canonical(one["name"]): one["version"] for one in bill["components"]} == locked()
    assert all(one["purl"].startswith("pkg:pypi/") for one in bill["components"])


def test_each_has_the_licence_that_the_page_lists(bill):
    """In the words of the package, which may be of two kinds."""
    for one in bill["components"]:
        told = [str(value) for entry in one["licenses"] for value in (entry.get("license") or entry).values()]
        stated = STATED[canonical(one["name"])]
        assert any(stated in each or SHORT.get(stated, stated) in each for each in told), (one["name"], told)


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="this system is not of Debian's kind")
def test_the_packages_of_the_system_are_in_an_images_bill():
    """As many as dpkg has, each with its version and a name by which scanners know it."""
    installed = subprocess.run(["dpkg-query", "-W", "-f", r"${db:Status-Status}\n"], capture_output=True, check=True)  # noqa: S607
    found = sbom.of_base()
    assert found[0]["name"] == "cpython"
    assert len(found) - 1 == installed.stdout.split().count(b"installed")
    assert any(re.fullmatch(r"pkg:deb/debian/libc6@[\d.+%B-]+\w*\?arch=\w+", one["purl"]) for one in found)
