"""The bill of materials of an installation of what is locked, made here: `python -m deploy.local.sbom FILE`."""

import json
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from deploy.image import sbom
from deploy.local import tools
from deploy.local.progress import say

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
START = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('cyclonedx_py', run_name='__main__')"


def of_the_lock() -> dict[str, Any]:
    """Return the bill of a Python that has what requirements/runtime.txt locks, and nothing else."""
    tool = [sys.executable, "-c", START, str(tools.cyclonedx())]
    with tempfile.TemporaryDirectory() as directory:
        alone = Path(directory)
        venv.create(alone, with_pip=False)
        [packages] = alone.glob("lib/python3*/site-packages")
        tools.install("runtime", packages)
        return sbom.of_python(tool, alone / "bin" / "python", PROJECT)


def main() -> None:
    """Write the bill."""
    into = Path(sys.argv[1])
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(json.dumps(of_the_lock(), indent=1), "utf-8")
    say(f"{into}: what an installation consists of, as CycloneDX")


if __name__ == "__main__":
    main()
