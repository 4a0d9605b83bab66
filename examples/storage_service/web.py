"""The service's pages: upload, list, download. What may go wrong with an object is `reconcile.guards`' to handle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from sqlalchemy.orm import Session, joinedload
from werkzeug.exceptions import HTTPException

from reconcile.guards import FileMissing, Storage, StorageUnavailable, UploadFailed, VersionNotFound

from .files import Upload, page_of_files, plain_name, store
from .models import FileVersion, Sessions, StorageFile, sessions_of

RETRY_AFTER_S = 5
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class FilesResource(MethodView):
    """The list, and the upload of a new file."""

    def __init__(self, storage: Storage, sessions: Sessions) -> None:
        self.storage = storage
        self.sessions = sessions

    def get(self) -> ResponseReturnValue:
        """Return one page of the list."""
        page = max(1, request.args.get("page", 1, type=int))
        stored = request.args.get("stored", type=UUID)
        with self.sessions() as session:
            files, more = page_of_files(session, page)
            said = session.get(FileVersion, stored) if stored else None
            return render_template("files.html", files=files, page=page, more=more, stored=said)

    def post(self, file_id: UUID | None = None) -> ResponseReturnValue:
        """Store what was sent, as a new file or as a file's next version."""
        sent = sent_file()
        with self.sessions() as session:
            version = store(session, self.storage, sent, existing(session, file_id) if file_id else None)
            return redirect(url_for("files", stored=version.id), 303)


class BucketDownloadProxyResource(MethodView):
    """The download of one version, through this service."""

    def __init__(self, storage: Storage, sessions: Sessions) -> None:
        self.storage = storage
        self.sessions = sessions

    def get(self, version_id: UUID) -> ResponseReturnValue:
        """Stream the object; one that is proven absent is a 404, and its version is marked by then."""
        with self.sessions() as session:
            version = session.get(FileVersion, version_id, options=[joinedload(FileVersion.file)])
            if version is None or version.file.deleted_at:
                abort(404, "There is no version of this name.")
            try:
                content = self.storage.open_version(version.id, connection=session)
            except FileMissing:
                session.refresh(version)
                return answer("gone.html", 404, title="The file is not in the storage any more", version=version)
            response = Response(content, mimetype=content.media_type or "application/octet-stream")
            response.content_length = content.size
            response.headers.set("Content-Disposition", "attachment", filename=version.file.name or "file")
            return response


def create_app(config: str | Path = "reconciler.toml") -> Flask:
    """Return the application; both it and storage-reconciler are configured by that one file."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 2**30
    storage = Storage.from_config(config)
    wired = storage, sessions_of(storage.settings.database.url)
    files = FilesResource.as_view("files", *wired)
    app.add_url_rule("/", view_func=files, methods=["GET"])
    app.add_url_rule("/files", view_func=files, methods=["POST"], endpoint="upload")
    app.add_url_rule("/files/<uuid:file_id>/versions", view_func=files, methods=["POST"], endpoint="upload_version")
    download = BucketDownloadProxyResource.as_view("download", *wired)
    app.add_url_rule("/versions/<uuid:version_id>/content", view_func=download)
    app.before_request(refuse_other_sites)
    app.after_request(with_headers)
    app.register_error_handler(HTTPException, refusal)
    app.register_error_handler(VersionNotFound, not_found)
    app.register_error_handler(StorageUnavailable, unavailable)
    app.register_error_handler(UploadFailed, failed)
    return app


def sent_file() -> Upload:
    """Return what the form sent."""
    sent = request.files.get("content")
    if sent is None or not sent.filename:
        abort(400, "No file was sent: choose one first.")
    size = sent.stream.seek(0, os.SEEK_END)
    sent.stream.seek(0)
    return Upload(plain_name(sent.filename), sent.stream, size, sent.mimetype or "application/octet-stream")


def existing(session: Session, file_id: UUID) -> StorageFile:
    """Return a file that has not been deleted."""
    file = session.get(StorageFile, file_id)
    if file is None or file.deleted_at:
        abort(404, "There is no file of this name.")
    return file


def refuse_other_sites() -> None:
    """Refuse a form that another site has sent in the user's name; every browser says where a request is from."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        abort(403, "This form was sent by another site.")


def with_headers(response: Response) -> Response:
    """Keep pages to themselves: no script, nothing from elsewhere, no copy in a cache."""
    response.headers.extend({name: text for name, text in HEADERS.items() if name not in response.headers})
    return response


def refusal(error: HTTPException) -> ResponseReturnValue:
    """Answer what was asked wrongly."""
    if error.response is not None:
        return error
    return answer("message.html", error.code or 500, title=error.name, text=error.description)


def not_found(_: VersionNotFound) -> ResponseReturnValue:
    """Answer what asks for a version that has no file: deleted, or not stored yet."""
    return answer("message.html", 404, title="Not Found", text="There is no version of this name.")


def unavailable(_: StorageUnavailable) -> ResponseReturnValue:
    """Answer while the storage does not: nothing is known, so nothing is marked."""
    text = "The storage does not answer right now. The file may well be there: try again in a moment."
    return answer("message.html", 503, title="The storage cannot be reached", text=text)


def failed(_: UploadFailed) -> ResponseReturnValue:
    """Answer an upload that was rolled back."""
    text = "The storage did not take the file, so nothing was kept. Try again in a moment."
    return answer("message.html", 503, title="The upload failed", text=text)


def answer(template: str, status: int, **values: Any) -> ResponseReturnValue:
    """Return a page that says what is wrong, or the same as JSON to who prefers that."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}  # noqa: PLR2004
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return {"error": values["title"]}, status, headers
    return render_template(template, status=status, **values), status, headers
