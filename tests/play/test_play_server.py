"""The server: frames and their order, garbage, people who leave, crowds, pages of other sites."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from play_testing import Served, new_session, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from worldsim.data.verify import verify
from worldsim.errors import UsageError
from worldsim.play.protocol import unpack_frame
from worldsim.play.server import listen, same_origin
from worldsim.play.session import Float, Moment, PlaySession


class Client:
    """Speaks the page's side, and says of every frame that it was seen."""

    def __init__(self, connection: ClientConnection, polite: bool = True) -> None:
        self.connection, self.polite = connection, polite
        self.steps: list[int] = []
        self.texts: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def read(self, timeout: float = 20.0) -> dict[str, Any]:
        """The next message; a frame's header for a frame."""
        message = self.connection.recv(timeout=timeout)
        if isinstance(message, str):
            text: dict[str, Any] = json.loads(message)
            self.texts.append(text)
            return text
        header, _ = unpack_frame(message)
        self.steps.append(header["step"])
        if self.polite:
            with suppress(ConnectionClosed):  # the server may have said goodbye since
                self.send(type="seen", frame=header["frame"])
        return header | {"type": "frame"}

    def until(self, kind: str) -> dict[str, Any]:
        """The next message of this type."""
        while (message := self.read())["type"] != kind:
            pass
        return message


@contextmanager
def client(served: Served, **options: Any) -> Iterator[Client]:
    with connect(served.websocket) as connection:
        yield Client(connection, **options)


def test_frames_come_in_order_at_the_rate_of_the_world(served: Served) -> None:
    with client(served) as page:
        hello = page.until("hello")
        assert hello["fps"] == 10 and len(hello["controls"]) == 5 and not hello["simulator"]
        page.send(type="action", value=[0.5, 0, 0, 0, 1], t=12.5)
        begun = time.monotonic()
        stamps = [page.until("frame")["t"] for _ in range(13)]
        spent = time.monotonic() - begun
    assert page.steps == list(range(len(page.steps)))
    assert stamps.count(12.5) == 1, "an action is shown for the first time once"
    assert spent >= 1.0, "not faster than the world"


def test_garbage_is_answered_and_the_drive_goes_on(served: Served) -> None:
    with client(served) as page:
        page.until("frame")
        for garbage in ("nonsense", '{"type": "action", "value": [1], "t": 0}'):
            page.connection.send(garbage)
            assert page.until("error")["message"]
        page.send(type="action", value=[None] * 5, t=0)
        assert "numbers" in page.until("error")["message"]
        page.send(type="sampler", kind="magic", steps=2)
        assert "magic" in page.until("error")["message"]
        page.connection.send(b"\x00\x01")  # not even text
        with pytest.raises(ConnectionClosed):
            for _ in range(1000):
                page.read()
    with client(served) as page:
        page.until("frame")


def test_pause_step_reset_and_sampler(served: Served) -> None:
    with client(served) as page:
        page.send(type="pause", on=True)
        while not page.until("state")["paused"]:
            pass
        steps = page.steps[-1]
        page.send(type="step")
        assert page.until("frame")["step"] in (steps + 1, steps + 2)
        page.send(type="reset", seed=3)
        assert page.until("state")["seed"] == 3 and page.steps[-1] == 0
        page.send(type="sampler", kind="rolling", steps=3)
        state = page.until("state")
        assert (state["sampler"], state["steps"], state["delay"]) == ("rolling", 3, 2)


def test_a_recording_of_nothing_does_not_stop_a_reset(served: Served) -> None:
    with client(served) as page:
        page.send(type="pause", on=True)
        while not page.until("state")["paused"]:
            pass
        page.send(type="record", on=True)
        while not page.until("state")["recording"]:
            pass
        page.send(type="reset", seed=5)
        state = page.until("state")
        assert state["seed"] == 5 and not state["recording"]


def test_numbers_beyond_any_float_are_refused(served: Served) -> None:
    with client(served) as page:
        page.until("frame")
        page.connection.send(
            '{"type": "action", "t": 0, "value": [1' + "0" * 400 + ", 0, 0, 0, 0]}"
        )
        assert "action" in page.until("error")["message"]
        page.until("frame")


def test_a_page_that_sees_nothing_is_not_flooded(served: Served) -> None:
    with client(served, polite=False) as page:
        with pytest.raises(TimeoutError):
            for _ in range(50):
                page.read(timeout=1.0)
        assert len(page.steps) <= 4
        page.polite = True
        page.send(type="seen", frame=len(page.steps))
        page.until("frame")


def test_a_recording_is_written_on_request_and_when_the_page_goes(served: Served) -> None:
    with client(served) as page:
        page.send(type="record", on=True)
        for _ in range(4):
            page.until("frame")
        page.send(type="record", on=False)
        recorded = page.until("recorded")
        assert Path(recorded["film"]).is_file() and verify(Path(recorded["episode"])) == []
        page.send(type="record", on=True)
        while not page.until("state")["recording"]:
            pass
        for _ in range(3):
            page.until("frame")
    end = time.monotonic() + 20
    while not (served.out / "0001" / "meta" / "info.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert verify(served.out / "0001") == [] and (served.out / "0001.mp4").is_file()


def sessions(served: Served) -> int:
    with urlopen(f"http://{served.address}/healthz", timeout=10) as answer:
        return int(json.load(answer)["sessions"])


def test_a_crowd_is_told_to_come_back_and_leavers_make_room(served: Served) -> None:
    with client(served) as first:
        first.until("frame")
        with client(served) as second:
            assert "try again later" in second.until("error")["message"]
            with pytest.raises(ConnectionClosed) as closed:
                second.read()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        assert sessions(served) == 1
        first.connection.socket.close()  # gone without a word
    end = time.monotonic() + 20
    while sessions(served) and time.monotonic() < end:
        time.sleep(0.05)
    with client(served) as third:
        third.until("frame")


def test_pages_of_other_sites_are_refused(served: Served) -> None:
    with connect(served.websocket, origin=Origin("http://evil.example")) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
    assert same_origin("http://localhost:8400", "localhost:8400") and same_origin(None, "x")


def test_a_session_that_fails_is_told_and_makes_room(tmp_path: Path) -> None:
    def broken() -> PlaySession:
        session = new_session()

        def fail(action: Float) -> Moment:
            raise ZeroDivisionError("division by zero")

        session.advance = fail  # type: ignore[method-assign]
        return session

    with serving(tmp_path, broken, max_sessions=1) as served:
        for _ in range(2):
            with client(served) as page:
                assert "division" in page.until("error")["message"]


def test_the_page_is_served_whole(served: Served) -> None:
    with urlopen(f"http://{served.address}/", timeout=10) as answer:
        text = answer.read().decode()
    assert "worldsim play" in text
    assert "http://" not in text and "https://" not in text, "it needs no network"


def test_a_taken_port_is_told() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(UsageError, match="port=0"):
        listen("127.0.0.1", listener.getsockname()[1])
