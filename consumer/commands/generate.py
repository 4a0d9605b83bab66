"""`config generate`: a configuration proposed from the tables that a database has. Reads, and writes no file."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from consumer.commands.answer import Answer
from consumer.commands.call import Call, database
from reconcile.config.configured import read_file
from reconcile.config.settings import Settings, load
from reconcile.tables.proposed import Servers, toml
from reconcile.tables.proposing import propose

MAPPING = "RECONCILER_MAPPING__"
FLAGGING = "RECONCILER_FLAGGING"
REPLACED = ("flagging", "mapping")  # without a mapping there is nothing to flag
SECRET = ("password", "sslpassword")


def generate(call: Call) -> Answer:
    """Return a whole reconciler.toml, each line with why it was chosen and how sure that is."""
    settings = known(call)
    with database(settings) as opened, opened.use() as connection:
        found = propose(connection, call.options.bucket or "", call.options.table or "")
    minio, kafka = settings.minio, str(settings.kafka.get("bootstrap.servers", ""))
    return Answer(
        toml(found, Servers(without_password(settings.database.url), minio.endpoint, minio.access_key, kafka))
    )


def known(call: Call) -> Settings:
    """Return what is configured of the servers; a mapping that is there already is to be replaced, and its flagging."""
    written = {name: value for name, value in call.document().items() if name not in REPLACED}
    environ = {name: value for name, value in call.environ.items() if not name.startswith((MAPPING, FLAGGING))}
    if call.options.database:
        environ["RECONCILER_DATABASE__URL"] = call.options.database
    return load(written, environ, read_file, ("database.url",))


def without_password(url: str) -> str:
    """Return a connection URL, or libpq's pairs, without what is secret in it."""
    if "://" in url:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        kept = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] not in SECRET])
        return urlunsplit((parts.scheme, f"{user.partition(':')[0]}{at}{host}", parts.path, kept, ""))
    told = conninfo_to_dict(url)
    return make_conninfo("", **{name: str(value) for name, value in told.items() if name not in SECRET})
