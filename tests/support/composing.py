"""Whether compose is on this machine, and how it is called."""

import shutil
import subprocess


def words() -> list[str] | None:
    """Return the words that run compose, as a plugin or by itself; None where it is not there."""
    for found in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(found[0]):
            asked = subprocess.run([*found, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return found
    return None
