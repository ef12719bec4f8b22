"""Remote policies over loopback: our server and client, and a stand-in for openpi's server."""

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from policy_fixtures import make_observation, make_spec

from worldsim.errors import SpecMismatchError, UsageError, WorldsimError
from worldsim.policies.base import FloatArray
from worldsim.policies.openpi_wire import pack, unpack
from worldsim.policies.remote_client import RemotePolicy
from worldsim.policies.remote_messages import RemoteMapping
from worldsim.policies.remote_server import PolicyServer
from worldsim.policies.simple import RandomPolicy

SPEC = make_spec()


class Echo:
    """Answers with its inputs: action = (env id, mean pixel, first of agent_pos)."""

    name = "echo"
    n_action_steps = 2

    def __init__(self) -> None:
        self.seeds: dict[int, int] = {}
        self.delay_s = 0.0
        self.error: Exception | None = None

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        self.seeds.update((i, seed) for i in env_ids)

    def act(self, observation: Any, env_ids: Sequence[int]) -> FloatArray:
        if self.error is not None:
            raise self.error
        time.sleep(self.delay_s)
        columns = [
            np.asarray([i + self.seeds[i] for i in env_ids], np.float32),
            np.asarray(observation["pixels"]["left"], np.float32).mean((1, 2, 3)),
            np.asarray(observation["agent_pos"])[:, 0],
        ]
        return np.repeat(np.stack(columns, 1)[:, None], 3, axis=1)


@contextmanager
def openpi_server(infer: Callable[[dict[str, Any]], Any], port: int = 0) -> Iterator[int]:
    """What openpi's server does: metadata first, a map a request, a string for a traceback."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve

    def handle(connection: ServerConnection) -> None:
        connection.send(pack({"robot": "droid"}))
        try:
            while True:
                answer = infer(unpack(bytes(connection.recv())))  # type: ignore[arg-type]
                if isinstance(answer, str):
                    connection.send(answer)
                    connection.close()
                    return
                connection.send(pack({**answer, "server_timing": {"infer_ms": 1.0}}))
        except ConnectionClosed:
            return

    with serve(handle, "127.0.0.1", port, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.socket.getsockname()[1])
        server.shutdown()
        thread.join()


def test_batch_round_trip_equals_local() -> None:
    local, served = RandomPolicy(SPEC), RandomPolicy(SPEC)
    observation = make_observation(5)
    with PolicyServer(served, SPEC, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        assert remote.n_action_steps == local.n_action_steps
        for policy in (local, remote):
            policy.reset(range(5), seed=3)
        for _ in range(2):
            np.testing.assert_array_equal(
                remote.act(observation, range(5)), local.act(observation, range(5))
            )
        remote.close()


def test_observation_arrives_whole() -> None:
    observation = make_observation(3)
    with PolicyServer(Echo(), SPEC, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        remote.reset([7, 8, 9], seed=10)
        actions = remote.act(observation, [7, 8, 9])
    assert actions.shape == (3, 3, 3)
    np.testing.assert_allclose(actions[:, 0, 0], [17, 18, 19])
    np.testing.assert_allclose(
        actions[:, 0, 1], observation["pixels"]["left"].astype(np.float32).mean((1, 2, 3))
    )
    np.testing.assert_allclose(actions[:, 0, 2], observation["agent_pos"][:, 0])


def test_errors_stay_in_the_servers_log_and_the_session_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = Echo()
    with PolicyServer(policy, SPEC, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        remote.reset([0], seed=0)
        policy.error = RuntimeError("no file /home/me/secret")
        with pytest.raises(WorldsimError, match="RuntimeError") as told:
            remote.act(make_observation(1), [0])
        assert "/" not in str(told.value).split("failed:")[1]
        assert "no file /home/me/secret" in caplog.text and "Traceback" in caplog.text
        policy.error = None
        assert remote.act(make_observation(1), [0]).shape == (1, 3, 3)


def test_health_is_answered_during_inference() -> None:
    policy = Echo()
    policy.delay_s = 1.0
    with PolicyServer(policy, SPEC, port=0) as server:
        remote = RemotePolicy(SPEC, port=server.port)
        remote.reset([0], seed=0)
        acting = threading.Thread(target=remote.act, args=(make_observation(1), [0]))
        acting.start()
        time.sleep(0.1)
        started = time.monotonic()
        url = f"http://127.0.0.1:{server.port}/healthz"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.read() == b"OK\n"
        assert time.monotonic() - started < 0.8
        acting.join()


def test_restarted_server_needs_a_reset() -> None:
    with PolicyServer(Echo(), SPEC, port=0) as server:
        port = server.port
        remote = RemotePolicy(SPEC, port=port)
        remote.reset([0, 1], seed=0)
        remote.act(make_observation(2), [0, 1])
    with PolicyServer(Echo(), SPEC, port=port):
        with pytest.raises(WorldsimError, match="closed the connection"):
            remote.act(make_observation(2), [0, 1])
        with pytest.raises(UsageError, match="reset envs"):
            remote.act(make_observation(2), [0, 1])
        remote.reset([0, 1], seed=4)
        assert remote.act(make_observation(2), [0, 1])[1, 0, 0] == 5
        remote.close()


def test_clients_at_once_do_not_disturb_each_other() -> None:
    local, observation = RandomPolicy(SPEC, hold=1), make_observation(2)
    local.reset([0, 1], seed=3)
    wanted = [local.act(observation, [0, 1]) for _ in range(2)]
    with PolicyServer(RandomPolicy(SPEC, hold=1), SPEC, port=0) as server:
        clients = [RemotePolicy(SPEC, port=server.port) for _ in range(2)]
        for client in clients:
            client.reset([0, 1], seed=3)
        for step in range(2):
            for client in clients:
                np.testing.assert_array_equal(client.act(observation, [0, 1]), wanted[step])
        for client in clients:
            client.close()


class Single(Echo):
    """Cannot be copied."""

    def __deepcopy__(self, memo: Any) -> "Single":
        raise TypeError("there is only one of me")


def test_policy_that_cannot_be_copied_serves_one_client_at_a_time() -> None:
    with PolicyServer(Single(), SPEC, port=0) as server:
        first, second = (RemotePolicy(SPEC, port=server.port) for _ in range(2))
        first.reset([0], seed=0)
        with pytest.raises(WorldsimError, match="another client.*cannot be copied"):
            second.reset([0], seed=0)
        first.close()
        time.sleep(0.2)
        second.reset([0], seed=0)
        second.close()


def test_nobody_listening() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        WorldsimError, match=f"cannot reach a policy server at ws://127.0.0.1:{port}"
    ):
        RemotePolicy(SPEC, port=port, timeout_s=2.0)


def test_port_taken() -> None:
    with PolicyServer(Echo(), SPEC, port=0) as server:
        with pytest.raises(UsageError, match="choose another port"):
            PolicyServer(Echo(), SPEC, port=server.port).__enter__()


def test_other_world_is_refused() -> None:
    with PolicyServer(Echo(), make_spec(fps=5), port=0) as server:
        with pytest.raises(SpecMismatchError, match="fps: made for 5, given 10"):
            RemotePolicy(SPEC, port=server.port)


def test_openpi_server_gets_mapped_rows() -> None:
    seen: list[dict[str, Any]] = []

    def infer(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message)
        return {"actions": np.arange(8, dtype=np.float64).reshape(2, 4)}

    observation = make_observation(2)
    with openpi_server(infer) as port:
        remote = RemotePolicy(
            SPEC,
            port=port,
            n_action_steps=2,
            images={"left": "observation/exterior_image_1_left"},
            state={"observation/gripper_position": [3], "observation/joint_position": [0, 1]},
            image_size=32,
            action_columns=[3, 0, 1],
        )
        remote.reset([0, 1], seed=0)
        actions = remote.act(observation, [0, 1])
        remote.close()
    np.testing.assert_array_equal(actions, [[[3, 0, 1], [7, 4, 5]]] * 2)
    assert len(seen) == 2
    assert set(seen[0]) == {
        "prompt",
        "observation/exterior_image_1_left",
        "observation/gripper_position",
        "observation/joint_position",
    }
    assert seen[1]["prompt"] == "task 1"
    assert seen[1]["observation/exterior_image_1_left"].shape == (32, 32, 3)
    np.testing.assert_array_equal(
        seen[1]["observation/joint_position"], observation["agent_pos"][1, :2]
    )


def test_openpi_server_restart_goes_unnoticed() -> None:
    def infer(message: dict[str, Any]) -> dict[str, Any]:
        return {"actions": np.zeros((1, 3))}

    with openpi_server(infer) as port:
        remote = RemotePolicy(SPEC, port=port)
        remote.reset([0], seed=0)
        remote.act(make_observation(1), [0])
        remote._connection._socket.close()  # type: ignore[union-attr]
        assert remote.act(make_observation(1), [0]).shape == (1, 1, 3)
        remote.close()


def test_nan_is_handed_on_in_its_row_only() -> None:
    def infer(message: dict[str, Any]) -> dict[str, Any]:
        value = np.nan if message["prompt"] == "task 1" else 0.5
        return {"actions": np.full((1, 3), value)}

    with openpi_server(infer) as port:
        remote = RemotePolicy(SPEC, port=port)
        remote.reset([0, 1], seed=0)
        actions = remote.act(make_observation(2), [0, 1])
        remote.close()
    assert np.isfinite(actions[0]).all() and np.isnan(actions[1]).all()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"actions": np.zeros(3)}, r"shape \(3,\), expected \[K, A\]"),
        ({"actions": np.zeros((2, 7))}, "7 columns.*takes 3"),
        ({"actions": "up"}, "not numbers"),
        ({"action": np.zeros((2, 3))}, "no 'actions'"),
        ("Traceback: out of memory", "out of memory"),
    ],
)
def test_bad_replies(answer: Any, message: str) -> None:
    with openpi_server(lambda request: answer) as port:
        remote = RemotePolicy(SPEC, port=port)
        remote.reset([0], seed=0)
        with pytest.raises(WorldsimError, match=message):
            remote.act(make_observation(1), [0])
        remote.close()


def test_silent_server_times_out() -> None:
    def infer(message: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.6)
        return {"actions": np.zeros((1, 3))}

    with openpi_server(infer) as port:
        remote = RemotePolicy(SPEC, port=port, timeout_s=0.2)
        remote.reset([0], seed=0)
        with pytest.raises(WorldsimError, match="did not answer within 0.2 s"):
            remote.act(make_observation(1), [0])


def test_our_server_answers_an_openpi_client() -> None:
    from websockets.sync.client import connect

    observation = make_observation(1)
    with PolicyServer(Echo(), SPEC, port=0) as server:
        with connect(f"ws://127.0.0.1:{server.port}", compression=None, max_size=None) as client:
            assert unpack(bytes(client.recv()))["name"] == "echo"  # type: ignore[arg-type]
            client.send(pack(RemoteMapping().encode(observation, 0)))
            reply = unpack(bytes(client.recv()))  # type: ignore[arg-type]
            assert reply["actions"].shape == (3, 3) and reply["server_timing"]["infer_ms"] > 0
            np.testing.assert_allclose(reply["actions"][0, 2], observation["agent_pos"][0, 0])
            client.send(pack({"prompt": "no pictures"}))
            assert "request lacks" in str(client.recv())
            client.send("not even binary")
            assert "expected a msgpack map" in str(client.recv())
