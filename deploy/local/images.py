"""The images of the stack, pinned here and nowhere else; a test holds docker-compose.kafka.yml to them."""

MINIO = (
    "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"  # the last published one, and the last whose listen stream works
)
KAFKA = "apache/kafka:4.3.1"
POSTGRES = "postgres:17.6"

ALL = (KAFKA, MINIO, POSTGRES)
