"""The web server of `worldsim play`: the page, and a websocket for each of a few people.

It answers to its own names alone, and only its own page may drive: see `worldsim.browser_guard`.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.browser_guard import names_this_machine, page_may_connect
from worldsim.errors import UsageError
from worldsim.play.connection import PlayConnection, Socket
from worldsim.play.protocol import LARGEST_MESSAGE
from worldsim.play.recording import TapeLimits
from worldsim.play.session import PlaySession
from worldsim.reporting.html_report import content_policy

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response, WebSocket

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


def build_app(
    make_session: MakeSession,
    out: Path,
    max_sessions: int,
    names: Collection[str] = (),
    limits: TapeLimits | None = None,
) -> "FastAPI":
    """The application.

    Args:
        make_session: called in a worker thread for every connection.
        out: folder of recordings.
        max_sessions: people at once; more are told to come back.
        names: under which people reach this machine, beside those it has anyway.
        limits: where a recording ends by itself.
    """
    from fastapi import FastAPI, WebSocket

    app = FastAPI(title="worldsim play", docs_url=None, redoc_url=None, openapi_url=None)
    desk = _Desk(make_session, out, max_sessions, names, limits)

    async def play(websocket: WebSocket) -> None:
        await desk.play(websocket)

    app.middleware("http")(desk.screen)
    app.add_api_route("/", _index(), response_model=None)
    app.add_api_route("/healthz", desk.health)
    app.add_api_websocket_route("/play", play)
    return app


def _index() -> Callable[[], Any]:
    """The handler of the page, which may run its own script and talk to its own server."""
    from fastapi.responses import HTMLResponse

    page = files("worldsim.play").joinpath("page.html").read_text(encoding="utf-8")
    style, script = (
        "".join(re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)) for tag in ("style", "script")
    )
    policy = content_policy(style, script, connect_src="'self'", frame_ancestors="'none'")
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    return index


@dataclass
class _Desk:
    """Who is let in; see `build_app`."""

    make_session: MakeSession
    out: Path
    max_sessions: int
    names: Collection[str]
    limits: TapeLimits | None

    def __post_init__(self) -> None:
        # A thread for each person, kept: what was drawn with in a thread lives as long as it.
        self._idle = [
            ThreadPoolExecutor(1, thread_name_prefix=f"play{i}") for i in range(self.max_sessions)
        ]

    async def screen(self, request: "Request", go_on: Callable[..., Any]) -> "Response":
        """Refuse requests that were sent to a name of somebody else's."""
        from fastapi.responses import PlainTextResponse

        if not names_this_machine(request.headers.get("host"), self.names):
            text = "this is not reached under that name; see `names` of `worldsim play`\n"
            return PlainTextResponse(text, 421)
        answer: Response = await go_on(request)
        return answer

    async def health(self) -> dict[str, int]:
        """How many are driving."""
        busy = self.max_sessions - len(self._idle)
        return {"sessions": busy, "max_sessions": self.max_sessions}

    async def play(self, websocket: "WebSocket") -> None:
        """One person's connection."""
        from starlette.websockets import WebSocketDisconnect

        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        own = names_this_machine(host, self.names)
        if not own or not page_may_connect(origin, host, self.names):
            await websocket.close(FOREIGN, "connections from pages of other sites are refused")
            return
        await websocket.accept()
        if not self._idle:
            text = f"{self.max_sessions} people are driving already; try again later"
            await websocket.send_json({"type": "error", "message": text})
            await websocket.close(BUSY, text)
            return
        worker = self._idle.pop()
        try:
            await self._drive(websocket, worker)
        except WebSocketDisconnect:
            pass  # the page went, perhaps mid-frame
        except Exception as error:
            LOG.exception("a session of worldsim play failed")
            text = f"failed ({type(error).__name__}); the terminal of `worldsim play` says how"
            with suppress(WebSocketDisconnect, RuntimeError):  # the page may be gone as well
                await websocket.send_json({"type": "error", "message": text})
                await websocket.close(FAILED)
        finally:
            self._idle.append(worker)

    async def _drive(self, websocket: Socket, worker: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        session = await loop.run_in_executor(worker, self.make_session)
        try:
            await PlayConnection(websocket, session, worker, self.out, self.limits).run()
        finally:
            await loop.run_in_executor(worker, session.close)


def serve(app: "FastAPI", listener: socket.socket) -> None:
    """Run until Ctrl-C."""
    import uvicorn

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
