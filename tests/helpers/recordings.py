"""Recordings in other formats, made without worldsim: h5py, PyAV, and bytes written by hand.

A hand moves a square about. Its place follows the action, `scale` metres a unit, and the frames
show where it is, so that a test sees whether rows and frames belong together.
"""

import csv
import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
FRONT, WRIST = (32, 48), (48, 32)
FPS = 10


@dataclass
class Take:
    """One episode: T actions `[T, 4]`, T+1 states `[T+1, 4]` and frames of two cameras."""

    action: Array
    state: Array
    front: Array
    wrist: Array
    success: bool
    task: str

    @property
    def reward(self) -> Array:
        """`[T]`: 1 at the end of a success."""
        reward = np.zeros(len(self.action), np.float32)
        reward[-1] = float(self.success)
        return reward


def picture(place: Array, size: tuple[int, int]) -> Array:
    """Grey with a red square at `place` in [-1, 1]."""
    frame = np.full((*size, 3), 90, np.uint8)
    row, column = (int((0.5 + 0.4 * p) * side) for p, side in zip(place, size, strict=True))
    frame[max(row - 4, 0) : row + 4, max(column - 4, 0) : column + 4] = (200, 30, 30)
    return frame


def takes(count: int = 12, steps: int = 14, scale: float = 0.1, seed: int = 0) -> list[Take]:
    """Episodes; every second one succeeds."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        action = rng.uniform(-1, 1, (steps, 4)).astype(np.float32)
        action[:, 3] = np.where(np.arange(steps) < steps // 2, -1, 1)
        state = np.zeros((steps + 1, 4), np.float32)
        state[0, :3] = rng.uniform(-0.2, 0.2, 3)
        for t in range(steps):
            state[t + 1, :3] = np.clip(state[t, :3] + scale * action[t, :3], -1, 1)
            state[t + 1, 3] = 0.04 * (action[t, 3] < 0)
        front = np.stack([picture(s[:2], FRONT) for s in state])
        wrist = np.stack([picture(s[1:3], WRIST) for s in state])
        found.append(Take(action, state, front, wrist, number % 2 == 0, f"push {number % 3}"))
    return found


def centre(frame: Array) -> Array:
    """Row and column of the middle of what is red."""
    red = frame[..., 0].astype(int) - frame[..., 1] > 60
    middle: Array = np.argwhere(red).mean(axis=0)
    return middle


def is_at(frame: Array, place: Array) -> bool:
    """Whether a frame shows the square where `place` says, up to half a pixel."""
    wanted = picture(place, (frame.shape[0], frame.shape[1]))
    return bool(np.abs(centre(frame) - centre(wanted)).max() < 0.5)


def write_mp4(path: Path, frames: Array, fps: int = FPS, codec: str = "libx264") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "10", "g": "5"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


HEADING = ("timestamp", "action_x", "action_y", "action_z", "action_grip")
STATES = ("state_x", "state_y", "state_z", "state_grip")


def write_films(root: Path, recorded: list[Take], fps: int = FPS) -> Path:
    """A folder an episode with two films and actions.csv, and episodes.csv over all."""
    for number, take in enumerate(recorded):
        folder = root / f"take_{number:02d}"
        write_mp4(folder / "front.mp4", take.front, fps)
        write_mp4(folder / "wrist.mp4", take.wrist, fps)
        rows = np.concatenate([take.action, take.action[-1:]])
        with (folder / "actions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*HEADING, *STATES])
            for t, (action, state) in enumerate(zip(rows, take.state, strict=True)):
                writer.writerow([f"{t / fps:.6f}", *action.tolist(), *state.tolist()])
    with (root / "episodes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", "task", "success"])
        for number, take in enumerate(recorded):
            writer.writerow([f"take_{number:02d}", take.task, int(take.success)])
    return root


def write_robomimic(path: Path, recorded: list[Take], next_obs: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        env = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": FPS}}
        data.attrs["env_args"] = json.dumps(env)
        for number, take in enumerate(recorded):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(take.action)
            demo["actions"], demo["rewards"] = take.action, take.reward
            demo["dones"] = take.reward.astype(np.int64)
            demo["states"] = np.zeros((len(take.action), 45))
            for name, rows in (("obs", slice(None, -1)), ("next_obs", slice(1, None))):
                if name == "obs" or next_obs:
                    demo[f"{name}/agentview_image"] = take.front[rows]
                    demo[f"{name}/robot0_eye_in_hand_image"] = take.wrist[rows]
                    demo[f"{name}/robot0_eef_pos"] = take.state[rows, :3]
                    demo[f"{name}/robot0_gripper_qpos"] = take.state[rows, 3:]
                    demo[f"{name}/object"] = np.zeros((len(take.action), 10))
        file.create_group("mask")["train"] = np.array([b"demo_0"])
    return path


def write_libero(folder: Path, recorded: list[Take]) -> Path:
    """Two files, one a task; pictures upside down, as OpenGL draws them."""
    folder.mkdir(parents=True)
    for half in range(2):
        with h5py.File(folder / f"task_{half}_demo.hdf5", "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps({"env_name": "Libero", "env_kwargs": {}})
            told = {"problem_name": "x", "language_instruction": f"do {half}"}
            data.attrs["problem_info"] = json.dumps(told)
            for number, take in enumerate(recorded[half::2]):
                demo = data.create_group(f"demo_{number}")
                demo["actions"], demo["rewards"] = take.action, take.reward.astype(np.uint8)
                demo["dones"] = take.reward.astype(np.uint8)
                demo["obs/agentview_rgb"] = take.front[:-1, ::-1]
                demo["obs/eye_in_hand_rgb"] = take.wrist[:-1, ::-1]
                turn = np.zeros((len(take.action), 3), np.float32)
                demo["obs/ee_states"] = np.hstack([take.state[:-1, :3], turn])
                demo["obs/ee_pos"] = take.state[:-1, :3]
                demo["obs/gripper_states"] = take.state[:-1, 3:]
    return folder


def write_minari(root: Path, recorded: list[Take], coded_frames: bool = False) -> Path:
    (root / "data").mkdir(parents=True)
    with h5py.File(root / "data/main_data.hdf5", "w") as file:
        file.attrs["env_spec"] = json.dumps({"id": "Hand-v0"})
        file.attrs["total_episodes"] = len(recorded)
        for number, take in enumerate(recorded):
            group = file.create_group(f"episode_{number}")
            group.attrs["id"] = number
            if coded_frames:  # as Minari writes pictures, unless told otherwise
                kind = h5py.vlen_dtype(np.uint8)
                frames = group.create_dataset("observations/front", (len(take.front),), kind)
                for row, frame in enumerate(take.front):
                    frames[row] = np.frombuffer(coded(frame, "JPEG"), np.uint8)
            else:
                group["observations/front"] = take.front
            group["observations/hand"] = take.state
            group["observations/desired_goal"] = np.zeros((len(take.state), 2))
            group["actions"], group["rewards"] = take.action, take.reward
            group["terminations"] = take.reward.astype(bool)
            group["truncations"] = np.zeros(len(take.action), bool)
            reached = np.concatenate([[0.0], take.reward]).astype(bool)
            group["infos/success"] = reached
    return root


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _feature(values: Any) -> bytes:
    """`tf.train.Feature` of a list of bytes, or an array of floats or whole numbers."""
    if isinstance(values, list):
        return _field(1, b"".join(_field(1, each) for each in values))
    array = np.asarray(values).reshape(-1)
    if array.dtype.kind == "f":
        return _field(2, _field(1, array.astype("<f4").tobytes()))
    packed = b"".join(_varint(int(each) & 0xFFFFFFFFFFFFFFFF) for each in array)
    return _field(3, _field(1, packed))


def example(features: dict[str, Any]) -> bytes:
    """A serialised `tf.train.Example`."""
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _feature(values)))
        for name, values in features.items()
    )
    return _field(1, b"".join(entries))


def slow_crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 3720 defines it."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A record of a TFRecord file."""

    def checksum(part: bytes) -> bytes:
        crc = slow_crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


def coded(frame: Array, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def rlds_features(take: Take, outcome: str = "") -> dict[str, Any]:
    """An episode in RLDS; the last step's action means nothing, and is NaN-free zeros."""
    count = len(take.state)
    last = np.arange(count) == count - 1
    features: dict[str, Any] = {
        "steps/observation/image": [coded(frame, "JPEG") for frame in take.front],
        "steps/observation/wrist_image": [coded(frame, "PNG") for frame in take.wrist],
        "steps/observation/state": take.state,
        "steps/action": np.concatenate([take.action, np.zeros((1, 4), np.float32)]),
        "steps/reward": np.concatenate([np.zeros(1), take.reward]).astype(np.float32),
        "steps/discount": np.ones(count, np.float32),
        "steps/is_first": (np.arange(count) == 0).astype(np.int64),
        "steps/is_last": last.astype(np.int64),
        "steps/is_terminal": last.astype(np.int64),
        "steps/language_instruction": [take.task.encode()] * count,
    }
    if outcome:
        path = f"gs://bucket/{outcome}/2023/trajectory.h5"
        features["episode_metadata/file_path"] = [path.encode()]
    return features


def write_rlds(folder: Path, recorded: list[Take], outcomes: bool = False) -> Path:
    """Two shards."""
    folder.mkdir(parents=True)
    shards: list[list[bytes]] = [[], []]
    for number, take in enumerate(recorded):
        outcome = ("success" if take.success else "failure") if outcomes else ""
        shards[number * 2 // len(recorded)].append(record(example(rlds_features(take, outcome))))
    for number, records in enumerate(shards):
        name = f"hand-train.tfrecord-{number:05d}-of-00002"
        (folder / name).write_bytes(b"".join(records))
    (folder / "features.json").write_text("{}")
    return folder
