"""The server process: campaign, scenarios, application and sockets, assembled once and closed in reverse.

A signal ends it cleanly: no new connection, answers under way have two seconds, then simulations nobody waits for are cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from threadpoolctl import threadpool_limits

from mlforhpc.campaign import Campaign
from mlforhpc.core.errors import MLforHPCError, StoreLocked, UsageError
from mlforhpc.core.names import load
from mlforhpc.scenarios.online import Online
from mlforhpc.server.app import application
from mlforhpc.server.configuration import Configuration
from mlforhpc.server.connections import end_stalled, room_for, within
from mlforhpc.server.log import Log
from mlforhpc.server.service import TRACE_BYTES, Service, local_broker

GRACE_S = 2
KEEP_ALIVE_S = 75
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def serve(configuration: Configuration, ready: Callable[[Service, str], None]) -> signal.Signals | None:
    """Serve until a signal comes, or the server ends by itself.

    Args:
        configuration: what, how, to whom.
        ready: is called once requests are answered, with the address.

    Returns:
        The signal that ended it.

    Raises:
        UsageError: the port or the folder is in use, or the certificate is none.
        MLforHPCError: the engine cannot be started.
    """
    came: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        came.append(number)
        server.should_exit = True

    with ExitStack() as leaving:
        leaving.callback(_handle, {each: signal.getsignal(each) for each in _SIGNALS})
        listener = leaving.enter_context(listening(configuration.host, configuration.port))
        service = leaving.enter_context(opened(configuration))
        server = server_of(service, configuration)
        leaving.callback(_handle, dict.fromkeys(_SIGNALS, signal.SIG_IGN))  # closing is not stopped again
        _handle(dict.fromkeys(_SIGNALS, leave))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(server, listener, lambda: ready(service, address(configuration, listener))))
    return signal.Signals(came[0]) if came else None


def _handle(handlers: Mapping[signal.Signals, Any]) -> None:
    for each, handler in handlers.items():
        signal.signal(each, handler)


@contextmanager
def opened(configuration: Configuration) -> Iterator[Service]:
    """The service in its folder, with its engine started."""
    load("engines", configuration.engine.name)
    with ExitStack() as leaving, threadpool_limits(1):  # one point is too little for several threads
        try:
            campaign = leaving.enter_context(
                Campaign(
                    configuration.folder,
                    engine=configuration.engine,
                    budget_bytes=configuration.budget_bytes,
                    keep="may",
                    trace_bytes=TRACE_BYTES,
                )
            )
        except StoreLocked as error:
            raise UsageError(str(error)) from None
        campaign.warm_up()
        onlines = {}
        for name, served in configuration.served.items():
            folder = configuration.folder / "online" / name
            onlines[name] = Online(campaign.broker, served.simulation, folder=folder, terms=served.terms)
            leaving.callback(onlines[name].close)
        local = local_broker(campaign, leaving)
        token, limits = configuration.trust.token, configuration.limits
        yield Service(onlines=onlines, campaign=campaign, limits=limits, token=token, local=local, log=Log(configuration.log))


def server_of(service: Service, configuration: Configuration) -> uvicorn.Server:
    """The HTTP server around the application."""
    config = uvicorn.Config(
        application(service, configuration.trust),
        http=within(room_for(service.limits.connections)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=configuration.certificate,
        ssl_keyfile=configuration.key,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"The certificate '{configuration.certificate}' and key '{configuration.key}' cannot be used: {error}.") from None
    return uvicorn.Server(config)


async def run(server: uvicorn.Server, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until `should_exit`; `ready` is called once requests are answered."""
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        gc.collect()
        gc.freeze()  # what is there now stays; later collections need not look at it
        ready()
    watching = asyncio.ensure_future(end_stalled(server.server_state.connections))
    try:
        await serving
    except SystemExit:
        raise MLforHPCError("The server could not start; what went wrong stands above.") from None
    finally:
        watching.cancel()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        UsageError: the port is in use, may not be used, or the host is not this machine's.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"The host '{host}' is none that this machine knows: {error.strerror}.") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(1024)
        except OSError as error:
            sentence = f"The server cannot listen on {host}:{port} ({error.strerror}); choose another --port, or 0 for a free one."
            raise UsageError(sentence) from None
        yield listener


def address(configuration: Configuration, listener: socket.socket) -> str:
    """Where clients find it."""
    host = f"[{configuration.host}]" if ":" in configuration.host else configuration.host
    return f"{'https' if configuration.certificate else 'http'}://{host}:{listener.getsockname()[1]}"
