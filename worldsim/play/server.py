"""The web server of `worldsim play`: the page, and a websocket for each of a few people."""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worldsim.errors import MissingExtraError, UsageError
from worldsim.play.drive import Drive, Socket
from worldsim.play.protocol import LARGEST_MESSAGE
from worldsim.play.session import PlaySession

if TYPE_CHECKING:
    from fastapi import FastAPI

BUSY, FOREIGN, FAILED = 1013, 1008, 1011
"""Close codes of websockets: try again later; refused; an error of ours."""
LOG = logging.getLogger(__name__)

MakeSession = Callable[[], PlaySession]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything slow is loaded.

    Raises:
        UsageError: there is no such port, it is taken, or the address is not this machine's.
    """
    if not 0 <= port < 2**16:
        raise UsageError(f"port is {port}; expected 1 to {2**16 - 1}, or 0 for a free one")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror}); port=0 takes a free one"
        ) from error
    return listener


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether a page may connect: pages of other sites must not drive this one's models."""
    return origin is None or urlsplit(origin).netloc == host


def build_app(make_session: MakeSession, out: Path, max_sessions: int) -> "FastAPI":
    """The application.

    Args:
        make_session: called in a worker thread for every connection.
        out: folder of recordings.
        max_sessions: people at once; more are told to come back.

    Raises:
        MissingExtraError: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, WebSocket
        from fastapi.responses import HTMLResponse
        from starlette.websockets import WebSocketDisconnect
    except ImportError as error:
        raise MissingExtraError("fastapi", "web") from error

    app = FastAPI(title="worldsim play", docs_url=None, redoc_url=None, openapi_url=None)
    page = files("worldsim.play").joinpath("page.html").read_text(encoding="utf-8")
    # A thread for each person, kept: what was drawn with in a thread lives as long as the process.
    idle = [ThreadPoolExecutor(1, thread_name_prefix=f"play{i}") for i in range(max_sessions)]

    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def health() -> dict[str, int]:
        return {"sessions": max_sessions - len(idle), "max_sessions": max_sessions}

    async def play(websocket: WebSocket) -> None:
        await websocket.accept()
        if not same_origin(websocket.headers.get("origin"), websocket.headers.get("host")):
            await websocket.close(FOREIGN, "connections from pages of other sites are refused")
            return
        if not idle:
            text = f"{max_sessions} people are driving already; try again later"
            await websocket.send_json({"type": "error", "message": text})
            await websocket.close(BUSY, text)
            return
        worker = idle.pop()
        try:
            await _serve(websocket, make_session, worker, out)
        except WebSocketDisconnect:
            pass  # the page went, perhaps mid-frame
        except Exception as error:
            LOG.exception("a session of worldsim play failed")
            with suppress(WebSocketDisconnect, RuntimeError):  # the page may be gone as well
                await websocket.send_json({"type": "error", "message": f"failed: {error}"})
                await websocket.close(FAILED)
        finally:
            idle.append(worker)

    app.add_api_route("/", index, response_class=HTMLResponse)
    app.add_api_route("/healthz", health)
    app.add_api_websocket_route("/play", play)
    return app


async def _serve(
    websocket: Socket, make_session: MakeSession, worker: ThreadPoolExecutor, out: Path
) -> None:
    loop = asyncio.get_running_loop()
    session = await loop.run_in_executor(worker, make_session)
    try:
        await Drive(websocket, session, worker, out).run()
    finally:
        await loop.run_in_executor(worker, session.close)


def serve(app: "FastAPI", listener: socket.socket) -> None:
    """Run until Ctrl-C.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "web") from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws_max_size=LARGEST_MESSAGE,
        ws="websockets-sansio",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
