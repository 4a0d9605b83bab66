"""The benchmarks' filling: rows come quickly, and the table is afterwards what it was before."""

from benchmarks import filling

INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'file_versions' ORDER BY indexname"


def test_the_indexes_are_built_again(connection):
    """Keys and indexes of the seed's table and one more: they are away while it is filled, and there after it."""
    connection.execute("CREATE INDEX by_status ON file_versions (status)")
    before = connection.execute(INDEXES).fetchall()
    with filling.without_indexes(connection, "file_versions"):
        assert connection.execute(INDEXES).fetchall() == []
    assert connection.execute(INDEXES).fetchall() == before
    assert len(before) == 4


def test_a_key_that_others_refer_to_stays(connection):
    """It could not be dropped without them."""
    with filling.without_indexes(connection, "storage_files"):
        [(name,)] = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'storage_files'").fetchall()
    assert name == "storage_files_pkey"
