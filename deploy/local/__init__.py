"""The local stack: PostgreSQL, Kafka and MinIO for the demo, the tests and the benchmarks."""
