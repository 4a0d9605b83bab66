"""PgBouncer before a PostgreSQL, in transaction mode: the machine's own, or Debian's package in the cache."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from deploy.local import postgres
from deploy.local.cache import claim_port, kept
from deploy.local.control import Launch
from deploy.local.place import Place
from deploy.local.postgres import Postgres
from deploy.local.progress import Trouble, run, step

WAY_OUT = "Install PgBouncer on this machine."
APT = {"DEBIAN_FRONTEND": "noninteractive"}
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
UNPACKED = "usr/sbin/pgbouncer"
SESSIONS = "2"  # fewer than the threads of a consumer, so that each transaction comes to another one


@dataclass(frozen=True)
class Program:
    """PgBouncer's program below `home`, and its libraries beside it where they are not the machine's own."""

    home: Path
    path: str

    def command(self, directory: Path) -> tuple[str, dict[str, str]]:
        """Return what an unprivileged user can run, and in which environment."""
        home = postgres.reachable(self.home, directory)
        libraries = sorted({str(one.parent) for one in home.glob("usr/lib/**/*.so*")}) if self.path == UNPACKED else []
        return str(home / self.path), {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}


def program() -> Program:
    """Return PgBouncer, fetched first where the machine has none; Trouble where that cannot be."""
    found = shutil.which("pgbouncer", path=PLACES)
    if found is not None:
        return Program(Path(found).parent, "pgbouncer")
    if not shutil.which("apt-get"):
        raise Trouble(f"there is no pgbouncer on this machine, and no Debian to fetch it from. {WAY_OUT}")
    return Program(kept("pgbouncer-of-debian", _unpacked), UNPACKED)


def _unpacked(place: Path) -> None:
    """Fetch the package and what it wants and the machine lacks, and unpack them without installing anything."""
    archives = place / "archives"
    (archives / "partial").mkdir(parents=True)
    fetch = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "--download-only"]
    options = ["-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]
    with step("pgbouncer is not on this machine: fetching Debian's"):
        if os.geteuid() == 0:
            run(["apt-get", "update", "--quiet"], WAY_OUT, APT)
        run([*fetch, *options, "pgbouncer"], WAY_OUT, APT)
        for package in archives.glob("*.deb"):
            run(["dpkg", "--extract", str(package), str(place)], WAY_OUT)
    shutil.rmtree(archives)


def start(place: Place, server: Postgres, **changed: str) -> Callable[[str], str]:
    """Start it before a server until the place is left; returns how the URL of one of its databases is pooled."""
    directory = place.directory_of(f"pgbouncer-{'-'.join(changed)}")
    command, environment = program().command(directory)
    port = claim_port(place.exits)
    (directory / "pgbouncer.ini").write_text(_ini(server, port, directory, changed), encoding="utf-8")
    users = f'"{postgres.USER}" "{postgres.PASSWORD}"\n'
    (directory / "users").write_text(users, encoding="utf-8")

    def pooled(url: str) -> str:
        inside = urlsplit(url)
        user, _, _ = inside.netloc.rpartition("@")
        return urlunsplit(inside._replace(netloc=f"{user}@127.0.0.1:{port}"))

    launch = Launch(
        name="PgBouncer",
        command=[command, str(directory / "pgbouncer.ini")],
        directory=directory,
        ready=lambda: postgres.answers(pooled(server.url)),
        environment=environment,
        user=postgres.unprivileged(directory),
    )
    place.start(launch)
    return pooled


def _ini(server: Postgres, port: int, directory: Path, changed: dict[str, str]) -> str:
    inside = urlsplit(server.url)
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(directory / "users"),
        "pool_mode": "transaction",
        "default_pool_size": SESSIONS,
        "max_client_conn": "200",
        **changed,
    }
    lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
    return f"[databases]\n* = host={inside.hostname} port={inside.port}\n[pgbouncer]\n{lines}\n"
