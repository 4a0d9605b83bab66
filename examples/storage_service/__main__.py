"""Serves the storage service on this machine until Ctrl-C: `python -m examples.storage_service`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from werkzeug.serving import make_server

from .web import create_app

HERE = Path(__file__).parent


def main() -> int:
    """Serve; the address is the first line on stdout."""
    parser = argparse.ArgumentParser(prog="storage_service", description="An example of what storage-reconciler guards")
    parser.add_argument("--config", default=str(HERE / "reconciler.toml"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="the port to listen on; 0: any (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = make_server(options.host, options.port, create_app(options.config), threaded=True)
    print(f"http://{options.host}:{server.port}/", flush=True)  # noqa: T201
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
