"""Serves any policy over openpi's websocket protocol, to our clients and to openpi's.

Ours send whole batches with env ids (`worldsim` in the message); openpi's send one row, and each
of their connections is one env. Inference runs in a worker thread, one request at a time, so that
handshakes and `/healthz` are answered meanwhile.
"""

import asyncio
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import UsageError
from worldsim.policies.base import Policy
from worldsim.policies.openpi_wire import pack, unpack
from worldsim.policies.remote_mapping import RemoteMapping
from worldsim.specs import WorldSpec

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

# Env ids of openpi connections start here, out of the way of those that our clients choose.
_FIRST_GUEST = 1_000_000


class PolicyServer:
    """A policy behind a port, run in a thread of its own; use it in a `with` statement.

    Args:
        policy: what to serve.
        spec: the world it acts in; sent to clients, which compare it with theirs.
        host: address to listen on; the default reaches this machine only.
        port: 0 chooses a free one (see `port`).
        mapping: keys in the requests of openpi's clients.
    """

    def __init__(
        self,
        policy: Policy,
        spec: WorldSpec,
        host: str = "127.0.0.1",
        port: int = 8000,
        mapping: RemoteMapping | None = None,
    ) -> None:
        self.host, self.port = host, port
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
            max_size=None,
            process_request=_health_check,
        )
        self.port = int(next(iter(self._server.sockets)).getsockname()[1])

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _converse(self, connection: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        guest = self._desk.admit()
        with suppress(ConnectionClosed):
            await connection.send(pack(self._desk.metadata))
            async for data in connection:
                try:
                    started = time.monotonic()
                    reply = await self._loop.run_in_executor(
                        self._executor, self._desk.answer, guest, data
                    )
                    milliseconds = (time.monotonic() - started) * 1e3
                    await connection.send(
                        pack({**reply, "server_timing": {"infer_ms": milliseconds}})
                    )
                except ConnectionClosed:
                    break
                except Exception:  # whatever a policy raises goes to its caller, as openpi does
                    await connection.send(traceback.format_exc())
        self._desk.dismiss(guest)


class RequestDesk:
    """Turns decoded requests into calls of the policy.

    Args:
        policy: who answers.
        spec: the world it acts in.
        mapping: keys of openpi requests.
    """

    def __init__(self, policy: Policy, spec: WorldSpec, mapping: RemoteMapping) -> None:
        self._policy, self._spec, self._mapping = policy, spec, mapping
        self._guests = 0
        self._sessions: dict[int, Policy] = {}
        self._seated: set[int] = set()

    @property
    def metadata(self) -> dict[str, Any]:
        """First message of every connection."""
        return {
            "worldsim_batched": True,
            "name": self._policy.name,
            "n_action_steps": int(self._policy.n_action_steps),
            "spec": self._spec.to_json(),
        }

    def admit(self) -> int:
        """Number of a new connection."""
        self._guests += 1
        return self._guests

    def dismiss(self, guest: int) -> None:
        """Forget a closed connection."""
        self._seated.discard(guest)
        self._sessions.pop(guest, None)

    def answer(self, guest: int, data: bytes | str) -> dict[str, Any]:
        """Reply to one message of connection `guest`.

        Raises:
            UsageError: the message is none of ours, or the policy cannot serve another client.
        """
        request = unpack(data) if isinstance(data, bytes) else None
        if not isinstance(request, dict):
            raise UsageError(f"expected a msgpack map, got {str(data)[:80]!r}")
        if "worldsim" in request:
            return self._answer_ours(guest, request)
        env_id = _FIRST_GUEST + guest
        if guest not in self._seated:
            self._policy.reset([env_id], 0)
            self._seated.add(guest)
        observation = self._mapping.decode(request, self._spec.camera_names)
        return {"actions": np.asarray(self._policy.act(observation, [env_id]))[0]}

    def _answer_ours(self, guest: int, request: dict[str, Any]) -> dict[str, Any]:
        order = request["worldsim"]
        if order["op"] == "reset":
            self._session(guest).reset(list(order["env_ids"]), int(order["seed"]))
            return {}
        if order["op"] != "act":
            raise UsageError(f"unknown op {order['op']!r}, expected 'reset' or 'act'")
        observation = {key: request[key] for key in ("pixels", "agent_pos", "task")}
        policy = self._session(guest)
        return {"actions": np.asarray(policy.act(observation, list(order["env_ids"])))}

    def _session(self, guest: int) -> Policy:
        """The policy for one client; a copy if another client is using it.

        Clients choose their env ids, and what a policy does may depend on them, so ids of two
        clients cannot be told apart by renumbering.

        Raises:
            UsageError: the policy is in use and cannot be copied.
        """
        if guest not in self._sessions:
            policy = self._policy
            if any(used is policy for used in self._sessions.values()):
                try:
                    policy = deepcopy(policy)
                except Exception as error:  # whatever its parts raise
                    raise UsageError(
                        f"another client is using policy {policy.name!r}, which cannot be copied "
                        f"({error}); serve it a second time on another port"
                    ) from error
            self._sessions[guest] = policy
        return self._sessions[guest]


def _health_check(connection: "ServerConnection", request: "Request") -> "Response | None":
    from http import HTTPStatus

    return connection.respond(HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None


def serve_policy(
    policy: Policy,
    spec: WorldSpec,
    host: str = "127.0.0.1",
    port: int = 8000,
    mapping: RemoteMapping | None = None,
) -> None:
    """Serve `policy` until Ctrl-C.

    Raises:
        UsageError: the port is taken.
    """
    with PolicyServer(policy, spec, host, port, mapping) as server:
        print(f"serving policy {policy.name!r} on ws://{server.host}:{server.port}; Ctrl-C stops")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
