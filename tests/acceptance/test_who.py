"""Who deleted what, and whose files are gone: findings counted by what real events, and real rows, say."""

import secrets

import pytest
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.support import consuming

OWNED = "UPDATE storage_files SET owner_id = %s WHERE id = (SELECT file_id FROM file_versions WHERE id = %s)"
KNOWN = (
    "SELECT key FROM reconciler.finding WHERE bucket = %s AND state = 'open'"
    " AND evidence ->> 'principal' IS NOT NULL ORDER BY key"
)
ANN, BEN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture
def site(tmp_path, database, minio, kafka, bucket):
    """Make an application whose bucket reports to the stack's topic."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as made:
        yield made


@pytest.fixture
def mallory(minio):
    """Give the client of another user."""
    name, secret = f"mallory-{secrets.token_hex(4)}", secrets.token_hex(12)
    provider = StaticProvider(minio.user, minio.password)
    admin = MinioAdmin(endpoint=minio.endpoint, credentials=provider, region=minio.region, secure=minio.secure)
    admin.user_add(access_key=name, secret_key=secret)
    admin.policy_set(policy_name="readwrite", user=name)
    yield (
        name,
        Minio(endpoint=minio.endpoint, access_key=name, secret_key=secret, region=minio.region, secure=minio.secure),
    )
    admin.user_remove(access_key=name)


def counted(site, by, *words):
    """Return the groups of what is open in the bucket, by their names."""
    groups = site.program.json("findings", "list", "--bucket", site.bucket, "--group-by", by, *words)
    return {(one[by], one["did"]) if "did" in one else one[by]: one["findings"] for one in groups}


def test_groups_say_who_deleted_and_who_must_be_asked_to_upload_again(site, mallory, minio):
    """By principal whoever deleted, apart from whoever stored; by owner whose files they are; and the filter agrees."""
    name, stranger = mallory
    rows = {key: site.row(key) for key in ("a", "b", "c", "d")}
    for key in (*rows, "orphan"):
        site.put(key)
    for owner, keys in ((ANN, "ab"), (BEN, "c")):
        for key in keys:
            site.sql(OWNED, owner, rows[key])
    with consuming.consuming(site.settings(RECONCILER_FLAGGING="true")) as consumer:
        consuming.turning(consumer, until_true=lambda: ("orphan", "orphan", "open") in site.open(), seconds=40)
        for key in ("a", "b"):
            stranger.remove_object(bucket_name=site.bucket, object_name=key)
        for key in ("c", "d"):
            site.remove(key)
        wanted = [("a",), ("b",), ("c",), ("d",), ("orphan",)]
        consuming.turning(consumer, until_true=lambda: site.sql(KNOWN, site.bucket) == wanted, seconds=40)
    expected = {(name, "deleted"): 2, (minio.user, "deleted"): 2, (minio.user, "stored"): 1}
    assert counted(site, "principal") == expected
    assert counted(site, "owner", "--kind", "missing") == {ANN: 2, BEN: 1, "": 1}
    listed = site.program.json("findings", "list", "--bucket", site.bucket, "--principal", name)
    assert {one["key"] for one in listed} == {"a", "b"}
    assert {one["owner"] for one in listed} == {ANN}


def test_whoever_stored_an_object_did_not_delete_it(site):
    """A finding that only knows of an upload says of nobody that he deleted it."""
    told = '{"event": "s3:ObjectCreated:Put", "principal": "alice"}'
    keep = (
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, evidence)"
        " VALUES (%s, %s, %s, %s, 'open', %s)"
    )
    for kind in ("missing", "mismatch"):
        site.sql(keep, site.bucket, kind, "r", kind, told)
    assert counted(site, "principal") == {("", ""): 1, ("alice", "stored"): 1}
    [listed] = site.program.json("findings", "list", "--principal", "alice")
    assert listed["kind"] == "mismatch"
