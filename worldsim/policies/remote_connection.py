"""One client connection to a policy server that speaks openpi's websocket protocol."""

from typing import TYPE_CHECKING, Any

from worldsim.browser_guard import address
from worldsim.errors import DataError, WorldsimError
from worldsim.policies.openpi_wire import pack, unpack

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LONGEST_COMPLAINT = 8000
"""Characters of a server's error that are shown."""


class ConnectionLost(WorldsimError):
    """The server went away while it was being talked to."""


class ServerConnection:
    """Opened when first needed and again after it was lost.

    Args:
        host: name or address of the server.
        port: its port.
        timeout_s: seconds to wait for the connection and for each answer.
        max_size: bytes of the largest answer that is taken.
    """

    def __init__(self, host: str, port: int, timeout_s: float, max_size: int) -> None:
        self.address = address("ws", host, port)
        self._timeout, self._max_size = timeout_s, max_size
        self._socket: ClientConnection | None = None
        self._metadata: dict[str, Any] = {}

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server says of itself; connects if need be."""
        self._open()
        return self._metadata

    def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message and wait for its answer.

        Raises:
            ConnectionLost: the server closed the connection or did not answer in time.
            WorldsimError: it cannot be reached, or answered with an error or with nonsense.
        """
        from websockets.exceptions import ConnectionClosed

        socket = self._open()
        try:
            socket.send(pack(message))
            answer = socket.recv(timeout=self._timeout)
        except TimeoutError as error:
            self.close()
            raise ConnectionLost(
                f"policy server {self.address} did not answer within {self._timeout:g} s"
            ) from error
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise ConnectionLost(
                f"policy server {self.address} closed the connection: {error}"
            ) from error
        if isinstance(answer, str):
            raise WorldsimError(f"policy server {self.address} failed:\n{_plain(answer)}")
        return self._map(answer)

    def close(self) -> None:
        """Hang up; the next request connects again."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _open(self) -> "ClientConnection":
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        if self._socket is not None:
            return self._socket
        try:
            # Pings are off: openpi's server runs inference in its event loop and cannot answer
            # them meanwhile (openpi pull request 938).
            socket = connect(
                self.address,
                compression=None,
                max_size=self._max_size,
                open_timeout=self._timeout,
                ping_interval=None,
                proxy=None,
            ).__enter__()
            greeting = socket.recv(timeout=self._timeout)
        except (OSError, WebSocketException) as error:
            raise WorldsimError(
                f"cannot reach a policy server at {self.address}: {error or type(error).__name__}. "
                "Start it (`python scripts/serve_policy.py`, or openpi's `serve_policy.py`) "
                "or correct policy.host and policy.port"
            ) from error
        if isinstance(greeting, str):
            socket.close()
            raise WorldsimError(
                f"{self.address} is no openpi policy server; it said {greeting[:200]!r}"
            )
        self._metadata = self._map(greeting)
        self._socket = socket
        return socket

    def _map(self, data: bytes) -> dict[str, Any]:
        message = unpack(data)
        if not isinstance(message, dict):
            raise DataError(
                f"policy server {self.address} sent a {type(message).__name__}, expected a map"
            )
        return message


def _plain(text: str) -> str:
    """What a server said of its failure, the end of it, without what would steer a terminal."""
    shown = text.rstrip()[-_LONGEST_COMPLAINT:]
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in shown)
