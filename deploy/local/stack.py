"""The local stack as a whole: PostgreSQL, Kafka, a MinIO that reports to it. Also a command: `up`, `down`, `run`."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from deploy.local import background, kafka, minio, postgres
from deploy.local.kafka import Kafka
from deploy.local.minio import Minio
from deploy.local.place import chosen_way, place
from deploy.local.postgres import Postgres
from deploy.local.progress import Trouble, say

CANNOT_START = 6  # a server could not be reached


@dataclass(frozen=True)
class Servers:
    """How to reach each server."""

    minio: Minio
    kafka: Kafka
    postgres: Postgres


@contextmanager
def stack(*, topic: str = "minio-events", partitions: int = 4, durable: bool = False) -> Iterator[Servers]:
    """Find or start the servers, with fresh data where they are started, and end them at the end."""
    with place(chosen_way()) as here:
        broker = kafka.find_or_start(here, topic, partitions)
        yield Servers(minio.find_or_start(here, broker), broker, postgres.find_or_start(here, durable=durable))


def variables(servers: Servers) -> dict[str, str]:
    """Return the environment that names these servers, to tests and to another stack()."""
    return {
        "RECONCILER_TEST_POSTGRES_URL": servers.postgres.url,
        "RECONCILER_TEST_KAFKA_BOOTSTRAP": servers.kafka.bootstrap,
        "RECONCILER_TEST_KAFKA_TOPIC": servers.kafka.topic,
        "RECONCILER_TEST_MINIO_URL": servers.minio.url,
        "RECONCILER_TEST_MINIO_USER": servers.minio.user,
        "RECONCILER_TEST_MINIO_PASSWORD": servers.minio.password,
        "RECONCILER_TEST_MINIO_ARN": servers.minio.arn,
    }


def how_to_reach(named: background.State) -> str:
    """Say how to reach the servers that these variables name, ready to paste."""
    url, user, password = (named[f"RECONCILER_TEST_MINIO_{what}"] for what in ("URL", "USER", "PASSWORD"))
    database, bootstrap = named["RECONCILER_TEST_POSTGRES_URL"], named["RECONCILER_TEST_KAFKA_BOOTSTRAP"]
    commands = {
        "RECONCILER_DATABASE__URL": database,
        "RECONCILER_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "RECONCILER_MINIO__ENDPOINT": url,
        "RECONCILER_MINIO__ACCESS_KEY": user,
        "RECONCILER_MINIO__SECRET_KEY": password,
    }
    tests = {name: value for name, value in named.items() if name.startswith("RECONCILER_TEST_")}
    return f"""
PostgreSQL   psql {database}
             the example's tables: psql {database} -f deploy/local/seed.sql
Kafka        {bootstrap}, topic {named["RECONCILER_TEST_KAFKA_TOPIC"]}
MinIO        {url}, user {user}, password {password}
             events: mc event add local/BUCKET {named["RECONCILER_TEST_MINIO_ARN"]} --event put,delete
             mc takes this: export MC_HOST_local={url.replace("://", f"://{user}:{password}@", 1)}

# for storage-reconciler:
{_exports(commands)}
# for make test, demo and the benchmarks, to use these servers:
{_exports(tests)}"""


def main() -> int:
    """Run the command line and return the exit status."""
    commands = {"up": _up, "down": _down, "run": _run, "hold": _hold}
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stack", description="PostgreSQL, Kafka and MinIO")
    parser.add_argument("command", choices=commands, metavar="up|down|run", help="run: until Ctrl-C")
    chosen = parser.parse_args().command
    try:
        commands[chosen]()
    except Trouble as trouble:
        say(f"\n{trouble}")
        return CANNOT_START
    except KeyboardInterrupt:
        return 130
    return 0


def _up() -> None:
    print(how_to_reach(background.up()))
    print("# make down ends the stack")


def _down() -> None:
    say("the stack has ended" if background.down() else "no stack is up")


def _run() -> None:
    with stack() as servers:
        print(how_to_reach(variables(servers)), flush=True)
        say("\nCtrl-C ends the stack")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _hold() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with stack() as servers:
        background.hold({"pid": str(os.getpid())} | variables(servers))


def _exports(named: dict[str, str]) -> str:
    return "".join(f"export {name}={value}\n" for name, value in named.items())


if __name__ == "__main__":
    sys.exit(main())
