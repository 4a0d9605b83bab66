"""The images of the stack, pinned here and nowhere else; tests hold docker-compose.kafka.yml to them."""

MINIO = (
    "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"  # the last published one, and the last whose listen stream works
)
KAFKA = "apache/kafka:4.3.1"
POSTGRES = "postgres:17.6"
PYTHON = "python:3.13.7-slim-bookworm"  # what our own image is built upon, unless BASE names another
OURS = "storage-reconciler:0.1.0"
PROMETHEUS = "prom/prometheus:v3.5.0"
GRAFANA = "grafana/grafana:12.1.1"

ALL = (KAFKA, MINIO, POSTGRES)  # what the local stack starts
