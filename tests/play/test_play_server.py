"""The server: frames and their order, garbage, people who leave, crowds, pages of other sites."""

import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from play_testing import Served, new_session, serving, unpack_frame
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from worldsim.data.verify import verify
from worldsim.errors import UsageError
from worldsim.play.connection import MESSAGES_A_SECOND
from worldsim.play.recording import TapeLimits
from worldsim.play.server import listen
from worldsim.play.session import Float, PlayObservation, PlaySession


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
    for origin in ("http://evil.example", "http://localhost:3000"):
        with pytest.raises(InvalidStatus) as refused:
            connect(served.websocket, origin=Origin(origin))
        assert refused.value.response.status_code == 403
    with connect(served.websocket, origin=Origin(f"http://{served.address}")) as connection:
        assert "hello" in str(connection.recv(timeout=10))


def test_names_that_were_pointed_at_this_machine_are_refused(served: Served) -> None:
    name, _, port = served.address.partition(":")
    evil = f"evil.example:{port}"
    for path in ("/", "/healthz"):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"http://{served.address}{path}", headers={"Host": evil}), timeout=10)
        assert refused.value.code == 421
    for origin in (None, Origin(f"http://{evil}")):
        line = socket.create_connection((name, int(port)))
        with line, pytest.raises(InvalidStatus) as closed:
            connect(f"ws://{evil}/play", sock=line, origin=origin)
        assert closed.value.response.status_code == 403


def test_a_recording_ends_at_its_limit_and_says_so(tmp_path: Path) -> None:
    limits = TapeLimits(seconds=0.3, free_bytes=0)
    with serving(tmp_path, new_session, max_sessions=1, limits=limits) as served:
        with client(served) as page:
            page.send(type="record", on=True)
            recorded = page.until("recorded")
            assert "0.3 s" in recorded["reason"] and verify(Path(recorded["episode"])) == []
            assert not page.until("state")["recording"]
            page.until("frame")


def test_a_disk_that_is_nearly_full_is_not_recorded_to(tmp_path: Path) -> None:
    limits = TapeLimits(free_bytes=1 << 60)
    with serving(tmp_path, new_session, max_sessions=1, limits=limits) as served:
        with client(served) as page:
            page.send(type="record", on=True)
            assert "disk" in page.until("error")["message"]
            assert not page.until("state")["recording"]
            page.until("frame")


def test_a_flood_of_orders_is_not_kept(served: Served) -> None:
    with client(served) as page:
        page.until("frame")
        for seed in range(MESSAGES_A_SECOND):
            page.send(type="reset", seed=seed)
        assert "orders wait already" in page.until("error")["message"]
        while page.until("frame")["step"] < 2:
            pass  # the last of those that were kept is carried out


def test_more_messages_than_a_page_sends_have_to_wait(served: Served) -> None:
    with client(served) as page:
        page.until("frame")
        begun = time.monotonic()
        for _ in range(MESSAGES_A_SECOND + MESSAGES_A_SECOND // 2):
            page.connection.send("nonsense")
        page.connection.send("{}")
        while "unknown message" not in page.until("error")["message"]:
            pass
        assert time.monotonic() - begun > 0.4


def test_the_page_may_run_its_own_script_only(served: Served) -> None:
    with urlopen(f"http://{served.address}/", timeout=10) as answer:
        text, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'" and directives["frame-ancestors"] == "'none'"
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(sha256(inline.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "innerHTML" not in text and "unsafe" not in policy


def test_a_session_that_fails_is_told_and_makes_room(tmp_path: Path) -> None:
    def broken() -> PlaySession:
        session = new_session()

        def fail(action: Float) -> PlayObservation:
            raise ZeroDivisionError("/home/me/secret")

        session.advance = fail  # type: ignore[method-assign]
        return session

    with serving(tmp_path, broken, max_sessions=1) as served:
        for _ in range(2):
            with client(served) as page:
                told = page.until("error")["message"]
                assert "ZeroDivisionError" in told and "secret" not in told


def test_the_page_is_served_whole(served: Served) -> None:
    with urlopen(f"http://{served.address}/", timeout=10) as answer:
        text = answer.read().decode()
    assert "worldsim play" in text
    assert "http://" not in text and "https://" not in text, "it needs no network"


def test_a_taken_port_is_told() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(UsageError, match="port=0"):
        listen("127.0.0.1", listener.getsockname()[1])
