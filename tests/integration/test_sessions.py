"""What our sessions are, on a real database."""

from contextlib import closing

from reconcile.database import Database

WHOLE = "SELECT FROM storage_files WHERE bucket_type = 'x'"


def test_no_statement_is_compiled_before_it_runs(database):
    """Where whole tables are passed over, a plan without an index looks dear; yet it takes no second."""
    with closing(Database(database, by_index=True)) as opened, opened.use() as ours:
        plan = ours.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {WHOLE}").fetchall()
    assert plan[0][0][0]["Plan"]["Total Cost"] > 1_000_000, "else the server would not think of it"
    assert "JIT" not in plan[0][0][0]
