"""Names that no other site can hide behind, and whose pages may connect."""

import socket

import pytest

from worldsim.browser_guard import address, names_this_machine, page_may_connect


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8400",
        "LOCALHOST",
        "localhost.:8400",
        "play.localhost:8400",
        "127.0.0.1:8400",
        "[::1]:8400",
        "192.168.1.5:8400",
        socket.gethostname(),
        "Robot.Lab:8400",
    ],
)
def test_own_names(host: str) -> None:
    assert names_this_machine(host, ["robot.lab"])
    assert page_may_connect(f"http://{host}", host, ["robot.lab"])
    assert page_may_connect(None, host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":8400",
        "[",
        "evil.example:8400",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
    ]
    + ["localhost@evil.example", "2130706433.evil.example", "evil.example#localhost"],
)
def test_names_of_others(host: str | None) -> None:
    assert not names_this_machine(host, ["robot.lab"])
    assert not page_may_connect(f"http://{host}", host, ["robot.lab"])


def test_pages_of_another_place_on_this_machine_are_others() -> None:
    assert not page_may_connect("http://localhost:3000", "localhost:8400")
    assert not page_may_connect("null", "null")
    assert not page_may_connect("file://", "")
    assert page_may_connect(
        "http://localhost:3000", "localhost:8400", (), ["http://localhost:3000"]
    )


def test_addresses_of_version_six_get_brackets() -> None:
    assert address("ws", "::1", 8000) == "ws://[::1]:8000"
    assert address("http", "127.0.0.1", 1) == "http://127.0.0.1:1"
