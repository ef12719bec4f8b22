"""Answers the requests of a policy server's clients, whom it does not trust.

Legend: N rows, one an env; P proprioception, H, W pixels.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from worldsim.errors import UsageError, WorldsimError
from worldsim.policies.base import Policy
from worldsim.policies.openpi_wire import unpack
from worldsim.policies.remote_messages import MOST_ENVS, RemoteMapping, rows_per_message
from worldsim.spec import WorldSpec


class RequestRefused(UsageError):
    """The request itself is wrong; the message may be told to whoever sent it."""


@dataclass
class _Client:
    """One connection.

    Attributes:
        number: among all connections so far.
        is_env: whether it sent openpi's requests, and so is an env itself.
        policy: who answers its batches, once there was one.
        env_ids: of its batches.
    """

    number: int
    is_env: bool = False
    policy: Policy | None = None
    env_ids: set[int] = field(default_factory=set)


class RequestDesk:
    """Turns requests into calls of the policy, and forgets a client that has gone.

    Args:
        policy: who answers.
        spec: the world it acts in.
        mapping: keys of openpi requests.
    """

    def __init__(self, policy: Policy, spec: WorldSpec, mapping: RemoteMapping) -> None:
        self._policy, self._spec, self._mapping = policy, spec, mapping
        self._clients: dict[int, _Client] = {}
        self._admitted = 0

    @property
    def metadata(self) -> dict[str, Any]:
        """First message of every connection."""
        return {
            "worldsim_batched": True,
            "name": self._policy.name,
            "n_action_steps": int(self._policy.n_action_steps),
            "spec": self._spec.to_json(),
        }

    @property
    def clients(self) -> int:
        """How many are being served."""
        return len(self._clients)

    def admit(self) -> int:
        """Give a new connection the first free seat, and return its number."""
        seat = next(seat for seat in count() if seat not in self._clients)
        self._admitted += 1
        self._clients[seat] = _Client(self._admitted)
        return seat

    def dismiss(self, seat: int) -> None:
        """Drop what is kept of a closed connection, the policy's memory of its envs included."""
        client = self._clients[seat]
        # A copy of the policy goes with its client.
        kept = client.env_ids if client.policy is self._policy else set()
        gone = [*sorted(kept), *([MOST_ENVS + seat] if client.is_env else [])]
        forget = getattr(self._policy, "forget", None)
        try:
            if forget is not None:
                forget(gone)
        finally:
            del self._clients[seat]

    def answer(self, seat: int, data: bytes | str) -> dict[str, Any]:
        """Reply to one message of the connection that has `seat`.

        Raises:
            RequestRefused: the message is none of ours, or the policy cannot serve another client.
        """
        client = self._clients[seat]
        try:
            request = unpack(data) if isinstance(data, bytes) else None
        except WorldsimError as error:
            raise RequestRefused(str(error)) from error
        if not isinstance(request, dict):
            raise RequestRefused(f"expected a msgpack map, got {str(data)[:80]!r}")
        if "worldsim" in request:
            return self._answer_ours(client, request)
        return self._answer_openpi(client, MOST_ENVS + seat, request)

    def _answer_openpi(
        self, client: _Client, env_id: int, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One row of a connection that is one env, for as long as it lasts."""
        try:
            decoded = self._mapping.decode(request, self._spec.camera_names)
        except (ValueError, TypeError, IndexError, UsageError) as error:
            raise RequestRefused(f"request does not fit the mapping: {error}") from error
        observation = self._checked(decoded, 1)
        if not client.is_env:
            client.is_env = True
            self._policy.reset([env_id], client.number)
        return {"actions": np.asarray(self._policy.act(observation, [env_id]))[0]}

    def _answer_ours(self, client: _Client, request: Mapping[str, Any]) -> dict[str, Any]:
        order = request["worldsim"]
        op = order.get("op") if isinstance(order, dict) else None
        if op not in ("reset", "act"):
            raise RequestRefused(f"unknown op {str(op)[:80]!r}, expected 'reset' or 'act'")
        env_ids = self._env_ids(order.get("env_ids"))
        if op == "reset":
            seed = order.get("seed")
            if type(seed) is not int or seed < 0:
                raise RequestRefused("seed must be a whole number of at least 0")
            policy = self._policy_of(client)
            client.env_ids.update(env_ids)
            policy.reset(env_ids, seed)
            return {}
        lost = [env_id for env_id in env_ids if env_id not in client.env_ids]
        if lost:
            raise RequestRefused(f"reset envs {lost} before act")
        observation = self._checked(request, len(env_ids))
        return {"actions": np.asarray(self._policy_of(client).act(observation, env_ids))}

    def _env_ids(self, given: Any) -> list[int]:
        most = rows_per_message(self._spec)
        whole = isinstance(given, list) and all(type(i) is int for i in given)
        if not whole or not 1 <= len(given) <= most or len(set(given)) != len(given):
            raise RequestRefused(f"env_ids must be 1 to {most} different whole numbers")
        if not 0 <= min(given) <= max(given) < MOST_ENVS:
            raise RequestRefused(f"env_ids must be in [0, {MOST_ENVS})")
        return list(given)

    def _checked(self, given: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """The observation of `rows` envs, as the spec has it.

        Raises:
            RequestRefused: a camera is missing, or an array has another shape or type.
        """
        pixels, task = given.get("pixels"), given.get("task")
        if not isinstance(pixels, dict):
            raise RequestRefused("request lacks 'pixels', a map of cameras")
        views = {}
        for camera in self._spec.cameras:
            view, shape = pixels.get(camera.name), (rows, camera.height, camera.width, 3)
            if not isinstance(view, np.ndarray) or view.dtype != np.uint8 or view.shape != shape:
                raise RequestRefused(f"camera {camera.name!r} must be uint8 {shape}")
            views[camera.name] = view
        agent_pos, size = given.get("agent_pos"), (rows, self._spec.agent_pos.dim)
        if not isinstance(agent_pos, np.ndarray) or agent_pos.shape != size:
            raise RequestRefused(f"agent_pos must be numbers {size}")
        if not isinstance(task, list) or [type(text) for text in task] != [str] * rows:
            raise RequestRefused(f"task must be a list of {rows} strings")
        return {"pixels": views, "agent_pos": agent_pos.astype(np.float32), "task": task}

    def _policy_of(self, client: _Client) -> Policy:
        """The policy for one client; a copy if another client is using it.

        Clients choose their env ids, and what a policy does may depend on them, so ids of two
        clients cannot be told apart by renumbering.

        Raises:
            RequestRefused: the policy is in use and cannot be copied.
        """
        if client.policy is None:
            policy = self._policy
            if any(other.policy is policy for other in self._clients.values()):
                try:
                    policy = deepcopy(policy)
                except Exception as error:  # whatever its parts raise
                    raise RequestRefused(
                        f"another client is using policy {policy.name!r}, which cannot be copied; "
                        "serve it a second time on another port"
                    ) from error
            client.policy = policy
        return client.policy
