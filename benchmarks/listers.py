"""The plain listers of a bucket that others ship: how each is called, and what it is told of the server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from deploy.local import minio as minios

if TYPE_CHECKING:
    from benchmarks.sweep import Place


class Lister(NamedTuple):
    """A program that lists a bucket, and its environment."""

    command: list[str]
    environment: dict[str, str]

    def run(self, out: IO[bytes]) -> None:
        """List into a file, and return once all is listed."""
        subprocess.run(self.command, env=self.environment, check=True, stdout=out)

    def to(self, file: Path) -> Path:
        """List into a file of this name, and return it."""
        with file.open("wb") as out:
            self.run(out)
        return file


def mc(place: Place, bucket: str, *options: str) -> Lister:
    """Return MinIO's own client, listing all."""
    address = place.endpoint.replace("://", f"://{place.user}:{place.password}@")
    command = [str(minios.client()), "ls", "--recursive", *options, f"here/{bucket}"]
    return Lister(command, {**os.environ, "MC_HOST_here": address})


def rclone(place: Place, bucket: str, *options: str) -> Lister:
    """Return rclone, listing all with the fewest requests; it knows the place as `here`, and nothing else."""
    named = {"TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": place.endpoint}
    named |= {"ACCESS_KEY_ID": place.user, "SECRET_ACCESS_KEY": place.password}
    ours = {f"RCLONE_CONFIG_HERE_{name}": value for name, value in named.items()}
    ours |= {"RCLONE_CONFIG": os.devnull, "TZ": "UTC"}
    command = ["rclone", "lsf", "--recursive", "--files-only", "--fast-list", *options, f"here:{bucket}"]
    return Lister(command, {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | ours)
