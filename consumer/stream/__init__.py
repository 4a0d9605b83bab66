"""The stream of events: decoded, held where a row is late, told to the reconciler; the express lane beside it."""
