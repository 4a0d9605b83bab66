"""Asks a public database which vulnerabilities are known of what is locked: `python -m deploy.local.audit`.

Where it is not reached nothing is known, and that is no good news: by itself the tool ends well then, too.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local import tools
from deploy.local.progress import say

START = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('pip_audit', run_name='__main__')"
LOCK = tools.REQUIREMENTS / "runtime.txt"
OPTIONS = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off", "--timeout", "10")
CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 2


def main() -> int:
    """Ask, tell, and return how it went."""
    tool = [sys.executable, "-c", START, str(tools.pip_audit())]
    done = subprocess.run([*tool, *OPTIONS, "-r", str(LOCK)], capture_output=True, text=True, check=False)
    if not done.stdout:
        say(f"audit: not asked: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return NOT_ASKED
    status, lines = judged(json.loads(done.stdout))
    for line in lines:
        say(f"audit: {line}")
    return status


def judged(document: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Return how the answer is to be taken, and what it says."""
    packages = document["dependencies"]
    asked = [one for one in packages if "vulns" in one]
    known = [line for one in asked for line in _vulnerabilities(one)]
    lines = [*known, f"{len(asked)} of {len(packages)} packages were asked for, {len(known)} vulnerabilities are known"]
    if len(asked) < len(packages):
        left = [one["skip_reason"] for one in packages if "vulns" not in one]
        lines.append(f"NOT ASKED FOR, so nothing is known of them: {len(left)}, the first: {left[0]}")
    return (VULNERABLE if known else CLEAN if len(asked) == len(packages) else NOT_ASKED), lines


def _vulnerabilities(package: Mapping[str, Any]) -> Iterator[str]:
    for one in package["vulns"]:
        mended = ", ".join(one["fix_versions"]) or "no version yet"
        yield f"{package['name']} {package['version']}: {one['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())
