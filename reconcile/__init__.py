"""Compares a bucket with a database, key by key; knows nothing of Kafka."""
