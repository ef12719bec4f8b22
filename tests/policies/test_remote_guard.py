"""Who may talk to a policy server, how much they may say, and what is kept once they have gone."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from queue import Queue
from typing import Any

import numpy as np
import pytest
from policy_fixtures import make_observation, make_spec
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from worldsim.errors import WorldsimError
from worldsim.policies.base import FloatArray
from worldsim.policies.openpi_wire import pack, unpack
from worldsim.policies.remote_client import RemotePolicy
from worldsim.policies.remote_messages import (
    MOST_ENVS,
    MOST_ROWS,
    RemoteMapping,
    largest_reply,
    largest_request,
    rows_per_message,
)
from worldsim.policies.remote_server import PolicyServer
from worldsim.policies.simple import RandomPolicy

SPEC = make_spec()
FRIEND = "http://dashboard.example"
Door = Callable[..., ClientConnection]


class Remembering:
    """Says of which envs it was told to forget; what it answers has `width` columns."""

    name, n_action_steps = "remembering", 1

    def __init__(self) -> None:
        self.resets: list[tuple[list[int], int]] = []
        self.forgotten: Queue[list[int]] = Queue()
        self.width = SPEC.action.dim

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        self.resets.append((list(env_ids), seed))

    def forget(self, env_ids: Sequence[int]) -> None:
        self.forgotten.put(list(env_ids))

    def act(self, observation: Any, env_ids: Sequence[int]) -> FloatArray:
        return np.zeros((len(env_ids), 1, self.width), np.float32)


@pytest.fixture(scope="module")
def policy() -> Remembering:
    return Remembering()


@pytest.fixture(scope="module")
def server(policy: Remembering) -> Iterator[PolicyServer]:
    with PolicyServer(policy, SPEC, port=0, origins=[FRIEND], max_clients=2) as running:
        yield running


@pytest.fixture
def door(server: PolicyServer, policy: Remembering) -> Iterator[Door]:
    """Opens connections; when they have gone, the server has noticed."""
    with ExitStack() as stack:
        opened: list[ClientConnection] = []

        def open_one(**options: Any) -> ClientConnection:
            client: ClientConnection = connect(
                server.address, compression=None, max_size=None, **options
            )
            opened.append(client)
            stack.enter_context(client)
            return client

        yield open_one
    for _ in opened:
        policy.forgotten.get(timeout=10)


def ask(client: ClientConnection, message: Any) -> Any:
    """The answer: a map, or the text of a refusal."""
    client.send(pack(message))
    answer = client.recv(timeout=10)
    return answer if isinstance(answer, str) else unpack(answer)


def batch(env_ids: Any, **changes: Any) -> dict[str, Any]:
    rows = len(env_ids) if isinstance(env_ids, list) else 1
    return {"worldsim": {"op": "act", "env_ids": env_ids}, **make_observation(rows), **changes}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1"),
        ("null", "127.0.0.1"),
        ("http://localhost:3000", "127.0.0.1"),
        ("http://[", "127.0.0.1"),
        ("http://evil.example", "evil.example"),  # a name that was pointed at this machine
    ],
)
def test_pages_of_other_sites_are_turned_away(server: PolicyServer, origin: str, host: str) -> None:
    line = socket.create_connection(("127.0.0.1", server.port))
    with line, pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{host}", sock=line, origin=Origin(origin))
    assert refused.value.response.status_code == 403


def test_two_hosts_in_one_request_are_refused(server: PolicyServer) -> None:
    origin, twice = Origin(server.address.replace("ws:", "http:")), {"Host": "evil.example"}
    with pytest.raises(InvalidStatus) as refused:
        connect(server.address, origin=origin, additional_headers=twice)
    assert refused.value.response.status_code == 403


def test_own_and_named_pages_may_connect(server: PolicyServer, door: Door) -> None:
    for origin in (FRIEND, server.address.replace("ws:", "http:")):
        assert unpack(bytes(door(origin=Origin(origin)).recv()))  # type: ignore[arg-type]


def test_messages_larger_than_an_observation_close_the_connection(door: Door) -> None:
    client = door()
    client.recv()
    client.send(b"\0" * (largest_request(SPEC) + 1))
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_answers_larger_than_actions_are_not_taken(
    server: PolicyServer, policy: Remembering
) -> None:
    remote = RemotePolicy(SPEC, port=server.port)
    remote.reset([0], seed=0)
    policy.width = largest_reply(SPEC)
    with pytest.raises(WorldsimError, match="closed the connection"):
        remote.act(make_observation(1), [0])
    policy.width = SPEC.action.dim
    remote.close()
    policy.forgotten.get(timeout=10)


def test_more_envs_than_a_message_may_be_about_go_in_several() -> None:
    count = MOST_ROWS + 3
    assert rows_per_message(SPEC) == MOST_ROWS
    local, observation, ids = RandomPolicy(SPEC), make_observation(count), list(range(count))
    with PolicyServer(RandomPolicy(SPEC), SPEC, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        for one in (local, remote):
            one.reset(ids, seed=3)
        np.testing.assert_array_equal(remote.act(observation, ids), local.act(observation, ids))
        remote.close()


def test_a_policy_that_sees_fewer_cameras_gets_those(policy: Remembering) -> None:
    from dataclasses import replace

    one_eyed = replace(SPEC, cameras=SPEC.cameras[:1])
    with PolicyServer(policy, one_eyed, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        remote.reset([0], seed=0)
        assert remote.act(make_observation(1), [0]).shape == (1, 1, 3)
        remote.close()
        policy.forgotten.get(timeout=10)


def test_limits_follow_the_world() -> None:
    large = make_spec(size=1080)
    for spec in (SPEC, large):
        pixels = rows_per_message(spec) * sum(c.height * c.width * 3 for c in spec.cameras)
        assert pixels < largest_request(spec) < 2**28
    assert rows_per_message(large) < rows_per_message(SPEC)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"worldsim": 3}, "unknown op"),
        ({"worldsim": {"op": "x" * 100_000, "env_ids": [0]}}, "unknown op"),
        ({"worldsim": {"op": "reset", "env_ids": [0], "seed": "1"}}, "seed"),
        ({"worldsim": {"op": "reset", "env_ids": [0.5], "seed": 1}}, "env_ids"),
        ({"worldsim": {"op": "reset", "env_ids": [0, 0], "seed": 1}}, "env_ids"),
        ({"worldsim": {"op": "reset", "env_ids": [MOST_ENVS], "seed": 1}}, "env_ids"),
        ({"worldsim": {"op": "reset", "env_ids": list(range(MOST_ROWS + 1)), "seed": 1}}, "env_id"),
        (batch([1]), "reset envs"),
        (batch([0], pixels={}), "camera 'left'"),
        (batch([0], pixels=make_observation(2)["pixels"]), "uint8"),
        (batch([0], agent_pos=np.zeros((1, 99), np.float32)), "agent_pos"),
        (batch([0], task=["a", "b"]), "task"),
        ({"observation/left": 1, "observation/right": 1, "observation/state": "x"}, "mapping"),
    ],
)
def test_requests_that_do_not_fit_are_refused_before_the_policy(
    door: Door, policy: Remembering, message: dict[str, Any], complaint: str
) -> None:
    client = door()
    client.recv()
    assert ask(client, {"worldsim": {"op": "reset", "env_ids": [0], "seed": 0}})
    before = len(policy.resets)
    told = ask(client, message)
    assert isinstance(told, str) and complaint in told and len(told) <= 1000
    assert len(policy.resets) == before
    assert "actions" in ask(client, batch([0]))


def test_a_client_that_has_gone_leaves_nothing_behind(
    server: PolicyServer, policy: Remembering
) -> None:
    seats, seeds = set(), set()
    for number in range(20):
        with connect(server.address, compression=None) as client:
            client.recv()
            assert "actions" in ask(client, RemoteMapping().encode(make_observation(1), 0))
            if number % 2:
                ask(client, {"worldsim": {"op": "reset", "env_ids": [5, 6], "seed": 1}})
                client.send("not even binary")
                client.socket.close()  # gone without a word, amid an error
        (env_ids, seed), *_ = policy.resets[-2:] if number % 2 else policy.resets[-1:]
        assert policy.forgotten.get(timeout=10) == [*([5, 6] if number % 2 else []), *env_ids]
        seats.update(env_ids)
        seeds.add(seed)
    assert len(seats) == 1 and len(seeds) == 20, "one seat again and again, other draws each time"


def test_a_crowd_is_told_to_come_back(server: PolicyServer, door: Door) -> None:
    for _ in range(2):
        door().recv()
    with pytest.raises(WorldsimError, match="2 clients are connected already"):
        RemotePolicy(SPEC, port=server.port)
