"""The bill of materials of an image: what CycloneDX's own tool finds in its Python, and the packages of its system.

Run where the image is built, by the base's Python and nothing else; what it needs is the tool's program.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

QUERY = r"${db:Status-Status} ${Package} ${Version} ${Architecture}\n"


def of_python(tool: Sequence[str], python: Path, project: Path) -> dict[str, Any]:
    """Return the bill of what a Python can import, our project at its root; it is valid, and the same each time."""
    words = ["environment", "--pyproject", str(project), "--output-reproducible", "--output-file", "-", str(python)]
    told = subprocess.run([*tool, *words], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def of_base() -> list[dict[str, str]]:
    """Return the interpreter, and the packages of the system where it is of Debian's kind."""
    version = platform.python_version()
    purl = f"pkg:generic/cpython@{version}"
    interpreter = {"type": "platform", "name": "cpython", "version": version, "purl": purl, "bom-ref": purl}
    return [interpreter, *of_debian()]


def of_debian() -> list[dict[str, str]]:
    """Return what dpkg has installed."""
    if not shutil.which("dpkg-query"):
        return []
    told = subprocess.run(["dpkg-query", "-W", "-f", QUERY], check=True, capture_output=True, text=True)  # noqa: S607
    return [_package(*line.split()[1:]) for line in told.stdout.splitlines() if line.startswith("installed ")]


def _package(name: str, version: str, architecture: str) -> dict[str, str]:
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={architecture}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main() -> None:
    """Write the bill."""
    parser = argparse.ArgumentParser()
    for name in ("tool", "python", "project", "into"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args()
    found = of_python([str(asked.tool)], asked.python, asked.project)
    found["components"] += of_base()
    asked.into.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
