"""The status page over a real database: what it says, to whom, how fast, and what no key can make of it."""

import pytest

from reconcile.database import migrate
from tests.support import consuming, paging


@pytest.fixture
def settings(tmp_path, database, connection, minio, bucket):
    """Return the settings of a site with our schema, and without Kafka."""
    migrate(connection)
    return consuming.settings_of(consuming.command.program(tmp_path, database, minio, bucket, {}).environment({}))


def test_the_first_page_says_what_is_wrong_and_what_to_do(settings, connection):
    """A brake is told first, with the commands as they are to be typed; a page shows no script and asks no network."""
    with paging.serving(settings) as page:
        connection.execute(
            "INSERT INTO reconciler.restraint (effect, bucket, kind, actor, why) "
            "VALUES ('brake', 'files', 'missing', 'x', '200 flags in 10 min')"
        )
        answer = page.ask("/")
    assert answer.status == 200
    assert "One thing wants you now" in answer.text
    assert "storage-reconciler --config /etc/reconciler.toml brake release --kind missing" in answer.text
    assert "200 flags in 10 min" in answer.text
    assert "<script" not in answer.text
