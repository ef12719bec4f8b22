"""Serves any policy over openpi's websocket protocol, to our clients and to openpi's.

Ours send whole batches with env ids (`worldsim` in the message); openpi's send one row, and each
of their connections is one env. Inference runs in a worker thread, one request at a time, so that
handshakes and `/healthz` are answered meanwhile. Pages of other sites are refused, and errors of
the policy stay in this process's log.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from worldsim.browser_guard import address, page_may_connect
from worldsim.errors import UsageError
from worldsim.policies.base import Policy
from worldsim.policies.openpi_wire import pack
from worldsim.policies.remote_desk import RequestDesk, RequestRefused
from worldsim.policies.remote_messages import RemoteMapping, largest_request
from worldsim.spec import WorldSpec

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

LOG = logging.getLogger(__name__)
_BUSY = 1013
"""Close code of websockets: try again later."""
_LONGEST_REFUSAL = 1000


class PolicyServer:
    """A policy behind a port, run in a thread of its own; use it in a `with` statement.

    Args:
        policy: what to serve. If it has `forget(env_ids)`, that is called for the envs of a client
            that has gone.
        spec: the world it acts in; sent to clients, which compare it with theirs. It also says how
            large a message may be.
        host: address to listen on; the default reaches this machine only.
        port: 0 chooses a free one (see `port`).
        mapping: keys in the requests of openpi's clients.
        origins: web sites whose pages may connect, such as `http://localhost:3000`.
        max_clients: connections at once; more are told to come back.
    """

    def __init__(
        self,
        policy: Policy,
        spec: WorldSpec,
        host: str = "127.0.0.1",
        port: int = 8000,
        mapping: RemoteMapping | None = None,
        origins: Collection[str] = (),
        max_clients: int = 16,
    ) -> None:
        self.host, self.port = host, port
        self._origins, self._max_clients = frozenset(origins), max_clients
        self._max_size = largest_request(spec)
        self._desk = RequestDesk(policy, spec, mapping or RemoteMapping())
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Server | None = None

    def __enter__(self) -> "PolicyServer":
        """Start listening.

        Raises:
            UsageError: the port is taken.
        """
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError as error:
            self.close()
            raise UsageError(
                f"cannot listen on {self.host}:{self.port}: {error}; choose another port"
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where clients find it."""
        return address("ws", self.host, self.port)

    def close(self) -> None:
        """Close every connection and stop."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> None:
        from websockets.asyncio.server import serve

        self._server = await serve(
            self._converse,
            self.host,
            self.port,
            compression=None,
            max_size=self._max_size,
            max_queue=1,
            process_request=self._screen,
        )
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _screen(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        """Answer a health check, and turn away pages of other sites before they are connected."""
        from http import HTTPStatus

        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        # A header that comes twice says nothing that could be believed.
        origin, host = (
            ", ".join(request.headers.get_all(name)) or None for name in ("Origin", "Host")
        )
        if page_may_connect(origin, host, [self.host], self._origins):
            return None
        return connection.respond(HTTPStatus.FORBIDDEN, "pages of other sites are refused\n")

    async def _converse(self, connection: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        if self._desk.clients >= self._max_clients:
            await connection.close(_BUSY, f"{self._max_clients} clients are connected already")
            return
        seat = self._desk.admit()
        try:
            with suppress(ConnectionClosed):
                await connection.send(pack(self._desk.metadata))
                async for data in connection:
                    await connection.send(await self._reply(seat, data))
        finally:
            # After what this client is still waiting for, and never beside another's request.
            with suppress(RuntimeError):  # the server has closed
                self._executor.submit(self._dismiss, seat)

    async def _reply(self, seat: int, data: bytes | str) -> bytes | str:
        """Actions, or as openpi does a text that says why there are none."""
        try:
            started = time.monotonic()
            reply = await self._loop.run_in_executor(self._executor, self._desk.answer, seat, data)
            milliseconds = (time.monotonic() - started) * 1e3
            return pack({**reply, "server_timing": {"infer_ms": milliseconds}})
        except RequestRefused as error:
            return str(error)[:_LONGEST_REFUSAL]
        except Exception as error:  # whatever a policy raises
            LOG.exception("policy %r failed", self._desk.metadata["name"])
            return f"the policy failed ({type(error).__name__}); the server's log says how"

    def _dismiss(self, seat: int) -> None:
        try:
            self._desk.dismiss(seat)
        except Exception:  # whatever a policy raises
            LOG.exception("policy %r failed to forget a client", self._desk.metadata["name"])


def serve_policy(
    policy: Policy,
    spec: WorldSpec,
    host: str = "127.0.0.1",
    port: int = 8000,
    mapping: RemoteMapping | None = None,
    origins: Collection[str] = (),
) -> None:
    """Serve `policy` until Ctrl-C; arguments are `PolicyServer`'s.

    Raises:
        UsageError: the port is taken.
    """
    with PolicyServer(policy, spec, host, port, mapping, origins) as server:
        print(f"serving policy {policy.name!r} on {server.address}; Ctrl-C stops")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
