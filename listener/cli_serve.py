"""`listener serve`: the web page, on this machine unless the configuration says otherwise."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from .session import Session, fail, say, shared_options

if TYPE_CHECKING:
    import socket

    from .config import Web

_CONNECTIONS = 100
_LARGEST_HEAD = 16_384
_SECONDS_TO_END = 10


@click.command()
@click.option("--host", help="Address to listen on [[web] host].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0: any free one [[web] port].")
@shared_options
def serve(session: Session, host: str | None, port: int | None) -> None:
    """Serve the page on which readers judge alerts; `listener run` may run beside it."""
    import os

    import uvicorn

    from .cli import clock
    from .links import open_signer
    from .web import Site, application

    config = session.config
    host = host or config.web.host
    refuse_unprotected(host, config.web)
    # A file of an older version is brought up to date before the first request.
    session.open().close()
    signer = open_signer(config, session.database, os.environ)
    site = Site(config=config, database=session.database, signer=signer, clock=clock)
    listening = _listen(host, config.web.port if port is None else port)
    server = uvicorn.Server(
        uvicorn.Config(
            application(site),
            lifespan="off",
            ws="none",
            # Addresses of pages hold tokens, so none is logged.
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
    )
    # The server ends cleanly at both and then sends them to us again.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: None)
    place = f"[{host}]" if ":" in host else host
    say(f"Serving on http://{place}:{listening.getsockname()[1]}. Ctrl-C ends it.")
    server.run(sockets=[listening])


def refuse_unprotected(host: str, web: Web) -> None:
    """End with the fix when other machines could reach a page that has no https address."""
    if _is_loopback(host) or (web.base_url or "").startswith("https://"):
        return
    fail(
        f"{host} can be reached from other machines, and the links would travel unprotected: put "
        "a web server with https in front and write its address, such as "
        'base_url = "https://listener.example.com", into [web], or listen on 127.0.0.1'
    )


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        fail(
            f"cannot listen on {host} port {port} ({error.strerror}): name another with --host "
            "or --port, or in [web]"
        )
