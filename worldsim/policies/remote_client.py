"""A policy that lives in another process or interpreter, reached over openpi's protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.config.limits import Port, Positive, Text, Whole
from worldsim.conventions import Observation
from worldsim.errors import SpecMismatchError, UsageError, WorldsimError
from worldsim.policies.base import POLICIES, FloatArray, require_same_interface
from worldsim.policies.remote_connection import ConnectionLost, ServerConnection
from worldsim.policies.remote_messages import RemoteMapping, largest_reply, rows_per_message
from worldsim.spec import WorldSpec


@POLICIES.register("remote")
class RemotePolicy:
    """Asks a server for action chunks: openpi's (one row a request) or ours (whole batches).

    A server of ours says `worldsim_batched` in its metadata; it keeps state per env, so if it is
    restarted in the middle of episodes, `act` fails until the next `reset`. openpi's servers keep
    none, and a lost connection is opened again unnoticed.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        host: the server's name or address.
        port: its port.
        n_action_steps: how many actions of a chunk are executed; 0 takes what the server's
            metadata says, or 1.
        action_columns: which columns of the server's actions are ours, in our order; empty means
            that the server's are as ours.
        timeout_s: seconds to wait for an answer.
        version: of what is served. Results are kept for as long as a policy's entry stays the same,
            so a new checkpoint behind the same port needs a new version.
        images, state, prompt, image_size: see `RemoteMapping`; used with openpi's servers.
    """

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "remote",
        host: Text = "127.0.0.1",
        port: Port = 8000,
        n_action_steps: Whole = 0,
        action_columns: Sequence[Whole] = (),
        timeout_s: Positive = 60.0,
        version: str = "",
        images: Mapping[str, Text] | None = None,
        state: Mapping[str, Sequence[Whole]] | None = None,
        prompt: str = "prompt",
        image_size: Whole = 0,
    ) -> None:
        if len(action_columns) not in (0, spec.action.dim):
            raise UsageError(
                f"remote policy: {len(action_columns)} action_columns, the environment takes "
                f"{spec.action.dim} ({', '.join(spec.action.names)})"
            )
        self.name = name
        self._spec = self._served = spec
        self._columns = list(action_columns)
        mapping = RemoteMapping(images or {}, prompt=prompt, image_size=image_size)
        self._mapping = mapping if state is None else replace(mapping, state=state)
        self._connection = ServerConnection(host, port, timeout_s, largest_reply(spec))
        self._batched = self._greet()
        said = self._connection.metadata.get("n_action_steps", 1)
        self.n_action_steps = n_action_steps or int(said)
        self._alive: set[int] = set()

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Start new episodes on the server, connecting again if the connection was lost."""
        ids = [int(i) for i in env_ids]
        self._batched = self._greet()
        if self._batched:
            try:
                self._reset_batched(ids, seed)
            except ConnectionLost:
                self._alive.clear()
                self._greet()
                self._reset_batched(ids, seed)
        self._alive.update(ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Chunks `[N, K, A]`; non-finite values of the server are handed on as they are.

        Raises:
            UsageError: an env was not reset since the connection was made.
            WorldsimError: the server failed (what it says of it is in the message), went away, or
                answered with actions of another shape.
        """
        ids = [int(i) for i in env_ids]
        lost = [i for i in ids if i not in self._alive]
        if lost:
            raise UsageError(f"remote policy {self.name!r}: reset envs {lost} before act")
        if self._batched:
            parts = [self._act_part(observation, ids, part) for part in self._parts(ids)]
        else:
            parts = [self._act_row(observation, row)[None] for row in range(len(ids))]
        if len({part.shape[1] for part in parts}) > 1:
            raise WorldsimError(
                f"{self._connection.address} returned chunks of lengths "
                f"{[part.shape[1] for part in parts]}"
            )
        return np.concatenate(parts)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _greet(self) -> bool:
        """Connect if need be, compare worlds, and say whether the server takes whole batches."""
        metadata = self._connection.metadata
        if not metadata.get("worldsim_batched"):
            return False
        if metadata.get("spec"):
            try:
                self._served = WorldSpec.from_json(metadata["spec"])
            except (TypeError, SpecMismatchError) as error:
                raise SpecMismatchError(f"{self._connection.address}: {error}") from error
            where = f"policy server {self._connection.address}"
            require_same_interface(self._served, self._spec, where)
        return True

    def _reset_batched(self, ids: list[int], seed: int) -> None:
        for part in self._parts(ids):
            order = {"op": "reset", "env_ids": ids[part], "seed": int(seed)}
            self._connection.request({"worldsim": order})

    def _parts(self, ids: list[int]) -> list[slice]:
        """As many envs as one message may be about, and the next ones, and so on."""
        most = rows_per_message(self._served)
        return [slice(at, at + most) for at in range(0, len(ids), most)]

    def _act_part(self, observation: Observation, ids: list[int], part: slice) -> FloatArray:
        pixels, cameras = observation["pixels"], self._served.camera_names
        message = {
            "worldsim": {"op": "act", "env_ids": ids[part]},
            "pixels": {camera: np.asarray(pixels[camera])[part] for camera in cameras},
            "agent_pos": np.asarray(observation["agent_pos"], np.float32)[part],
            "task": [str(text) for text in observation["task"][part]],
        }
        try:
            reply = self._connection.request(message)
        except ConnectionLost:
            # What the server knew of the running episodes may be gone with it.
            self._alive.clear()
            raise
        return self._check(reply, 3, len(ids[part]))

    def _act_row(self, observation: Observation, row: int) -> FloatArray:
        message = self._mapping.encode(observation, row)
        try:
            reply = self._connection.request(message)
        except ConnectionLost:
            reply = self._connection.request(message)
        return self._check(reply, 2, 0)

    def _check(self, reply: dict[str, Any], ndim: int, rows: int) -> FloatArray:
        """The reply's actions in our columns: `[N, K, A]` if `ndim` is 3, else `[K, A]`."""
        where = f"policy server {self._connection.address}"
        if "actions" not in reply:
            raise WorldsimError(f"{where} sent no 'actions', only {sorted(map(str, reply))}")
        try:
            actions = np.asarray(reply["actions"], np.float32)
        except (TypeError, ValueError) as error:
            raise WorldsimError(f"{where}: actions are not numbers: {error}") from error
        expected = "[N, K, A]" if ndim == 3 else "[K, A]"
        if actions.ndim != ndim or actions.shape[-2] < 1 or (ndim == 3 and len(actions) != rows):
            raise WorldsimError(f"{where}: actions have shape {actions.shape}, expected {expected}")
        if self._columns:
            if max(self._columns) >= actions.shape[-1]:
                raise WorldsimError(
                    f"{where}: actions have {actions.shape[-1]} columns, "
                    f"action_columns asks for {self._columns}"
                )
            actions = actions[..., self._columns]
        if actions.shape[-1] != self._spec.action.dim:
            raise WorldsimError(
                f"{where}: actions have {actions.shape[-1]} columns, the environment takes "
                f"{self._spec.action.dim}; name those to use with policy.action_columns"
            )
        return np.ascontiguousarray(actions)
