"""Shows the main job on real servers: what goes wrong, what is found, by which path, after how many milliseconds.

Every line it prints was asked of the database. It exits 0 only if all of it was true.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin
from psycopg import sql
from psycopg.rows import dict_row

from deploy.local import background
from deploy.local.application import Application, Page, serve
from deploy.local.losses import losses
from deploy.local.progress import Trouble, say
from deploy.local.stack import Servers, stack
from deploy.local.story import PROGRAM, STRANGER, STRANGER_SECRET, Demo, Untrue, story, summary
from examples.storage_service.models import sessions_of
from reconcile.guards import Storage

CONFIGURATION = """\
# Written by `make demo`: the seed's tables, and graces short enough to watch.
flagging = true

[database]
url = "{database}"

[minio]
endpoint = "{endpoint}"
access_key = "{access_key}"
secret_key = "{secret_key}"

[stream]
topic = "{topic}"

[kafka]
"bootstrap.servers" = "{bootstrap}"
"group.id" = "{bucket}"

[policy]
missing_grace = "1s"
orphan_grace = "1s"

[web]
port = 0

[mapping]
group = "file.bucket_type"

[mapping.version]
table = "file_versions"
id = "id"
file_id = "file_id"
key = "object_key"
size = "size"
status = "status"
created_at = "created_at"

[mapping.file]
table = "storage_files"
id = "id"
deleted = "deleted_at"

[mapping.status]
flag = "corrupted"
expects_absence = ["deleted", "pending"]

[mapping.bucket]
name = "{bucket}"
"""


def prepare(servers: Servers, directory: Path) -> Demo:
    """Create the application's tables and bucket, a stranger with an access key, and the configuration."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(servers.postgres.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = servers.postgres.database_url(name)
    (directory / "reconciler.toml").write_text(configuration(servers, database, name), "utf-8")
    connection = psycopg.connect(database, autocommit=True)
    connection.execute((Path(__file__).parent / "seed.sql").read_bytes())
    client = as_user(servers, servers.minio.user, servers.minio.password)
    client.make_bucket(bucket_name=name)
    say("storage-reconciler init --apply: schema, topics, notification rule")
    subprocess.run([PROGRAM, "--config", str(directory / "reconciler.toml"), "init", "--apply"], check=True, stdout=2)
    onlooker = psycopg.connect(database, autocommit=True, row_factory=dict_row)
    storage = Storage.from_config(directory / "reconciler.toml")
    application = Application(connection, client, name, storage, sessions_of(database))
    return Demo(servers, application, onlooker, directory, stranger(servers))


def configuration(servers: Servers, database: str, bucket: str) -> str:
    """Return the demo's reconciler.toml."""
    minio, kafka = servers.minio, servers.kafka
    return CONFIGURATION.format(
        database=database,
        endpoint=minio.url,
        access_key=minio.user,
        secret_key=minio.password,
        topic=kafka.topic,
        bootstrap=kafka.bootstrap,
        bucket=bucket,
    )


def as_user(servers: Servers, user: str, password: str) -> Minio:
    """Return a client with somebody's credentials."""
    minio = servers.minio
    return Minio(
        endpoint=minio.endpoint, access_key=user, secret_key=password, secure=minio.secure, region=minio.region
    )


def stranger(servers: Servers) -> Minio:
    """Create a second user, so that the evidence has somebody to name."""
    minio = servers.minio
    provider = StaticProvider(minio.user, minio.password)
    admin = MinioAdmin(endpoint=minio.endpoint, credentials=provider, region=minio.region, secure=minio.secure)
    admin.user_add(access_key=STRANGER, secret_key=STRANGER_SECRET)
    admin.policy_set(policy_name="readwrite", user=STRANGER)
    return as_user(servers, STRANGER, STRANGER_SECRET)


@contextmanager
def servers_of(*, keep: bool) -> Iterator[Servers]:
    """Start the servers for this run, or, to keep them, in the background."""
    if keep:
        os.environ.update({name: value for name, value in background.up().items() if name.startswith("RECONCILER_")})
    with stack() as servers:
        yield servers


def run(exits: ExitStack, *, keep: bool) -> None:
    """Start, show, and stop what was started, unless it is kept."""
    servers = exits.enter_context(servers_of(keep=keep))
    directory = Path(tempfile.mkdtemp(prefix="reconciler-demo-"))
    demo = prepare(servers, directory)
    demo.start()
    demo.page = page = serve(directory)
    if keep:
        exits.callback(how_to_go_on, demo, page)
    else:
        exits.callback(demo.stop)
        exits.callback(page.stop)
    demo.ready()
    demo.console.print("\n[bold]The story[/]")
    story(demo)
    losses(demo)
    demo.console.print()
    demo.console.print(summary(demo.scenes))
    if not keep:
        shutil.rmtree(directory)  # the logs stay only where something was not true


def how_to_go_on(demo: Demo, page: Page) -> None:
    """Say how to talk to what is left running, ready to paste, and how to end it."""
    minio, kafka = demo.servers.minio, demo.servers.kafka
    consumer = demo.consumer.pid if demo.consumer else "?"
    print(f"""
application  {page.url}  (upload, list, download)
status page  {status_page(demo.directory)}
PostgreSQL   psql {demo.servers.postgres.database_url(demo.bucket)}
Kafka        {kafka.bootstrap}, topic {kafka.topic}
MinIO        {minio.url}, bucket {demo.bucket}, user {minio.user}, password {minio.password}
             mc takes this: export MC_HOST_local={minio.url.replace("://", f"://{minio.user}:{minio.password}@", 1)}

export RECONCILER_CONFIG={demo.directory}/reconciler.toml
{PROGRAM} status
{PROGRAM} findings list
{PROGRAM} sweep  # is held: the mass again
{PROGRAM} brake release

# logs: consumer.log and page.log in {demo.directory}
kill {consumer} {page.process.pid}  # ends the consumer and the application's page
make down  # ends the servers""")


def status_page(directory: Path) -> str:
    """Return where the consumer serves its status page, as its log tells."""
    found = re.search(r"web\.listening\W.*?port\W+(\d+)", (directory / "consumer.log").read_text("utf-8"))
    return f"http://127.0.0.1:{found[1]}/" if found else "?"


def main() -> int:
    """Run the demo; 0 only if all of it was true."""
    with ExitStack() as exits:
        try:
            run(exits, keep=bool(os.environ.get("KEEP")))
        except Untrue as untrue:
            say(f"not true: {untrue}")
            return 1
        except (Trouble, subprocess.CalledProcessError) as trouble:
            say(f"{trouble}")
            return 6
    return 0


if __name__ == "__main__":
    sys.exit(main())
