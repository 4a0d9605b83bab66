"""The application's tables: a file, and its versions, one row a stored object."""

from __future__ import annotations

import uuid
from datetime import datetime

import psycopg
from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Integer,
    Text,
    UniqueConstraint,
    create_engine,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

ACTIVE, CORRUPTED = "active", "corrupted"
NEW_ID = text("gen_random_uuid()")
Sessions = sessionmaker[Session]


class Base(DeclarativeBase):
    """What all tables have in common: text has no length, times have a zone."""

    type_annotation_map = {str: Text, int: BigInteger, datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy's


class StorageFile(Base):
    """A file, as its owner knows it by name."""

    __tablename__ = "storage_files"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4, server_default=NEW_ID)
    bucket_type: Mapped[str]
    owner_id: Mapped[uuid.UUID | None]
    name: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    versions: Mapped[list[FileVersion]] = relationship(
        back_populates="file", order_by="FileVersion.version_number.desc()"
    )


class FileVersion(Base):
    """One version of a file: the row that names an object."""

    __tablename__ = "file_versions"
    __table_args__ = (UniqueConstraint("file_id", "version_number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4, server_default=NEW_ID)
    file_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("storage_files.id"))
    version_number: Mapped[int] = mapped_column(Integer)
    object_key: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int | None]
    etag: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=ACTIVE)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    file: Mapped[StorageFile] = relationship(back_populates="versions")


def sessions_of(url: str) -> Sessions:
    """Return what makes sessions on a database; objects stay readable after a commit."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), pool_pre_ping=True)
    return sessionmaker(engine, expire_on_commit=False)
