"""Small episode files in the published layouts, written without the product's writers.

LH-VLN: as `nav_gen/task_gen.py`, `nav_gen/dataset_gen.py` and `nav_gen/split_task.py` of
HCPLab-SYSU/LH-VLN write them. VLN-CE: as `habitat_extensions/task.py` reads them.
"""

import gzip
import json
from pathlib import Path
from typing import Any

INSTRUCTION = "take the bag in bedroom to the desk in office"
SCENE = "00812-abc"


def put_json(path: Path, data: Any) -> Path:
    """`.gz` is compressed. NaN and infinity are written as Python's json does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def lhvln_config(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Task instruction": INSTRUCTION,
        "Subtask list": ["Move_to('bag_0')", "Grab('bag')", "Move_to('desk_4')", "Release('bag')"],
        "Robot": "spot",
        "Scene": SCENE,
        "Object": [["bag", "Region 0: Bedroom"], ["desk", "Region 4: Office"]],
    }
    return config | changes


def lhvln_trial() -> dict[str, Any]:
    """Two sub-tasks. An unturned agent (yaw 180) looks along -z; a left turn adds 30 degrees.

    First: forward twice, stop. Second: left (which wraps from 180 to -150), forward, stop.
    """
    return {
        "trial_0": {
            "pos": [[1.0, 0.2, 5.0], [1.0, 0.2, 4.75], [1.0, 0.2, 4.5], [1.0, 0.2, 4.5]],
            "yaw": [180, 180, 180, 180],
            "action": ["stop", "move_forward", "move_forward", "stop"],
        },
        "trial_1": {
            "pos": [[1.0, 0.2, 4.5], [0.875, 0.2, 4.28], [0.875, 0.2, 4.28]],
            "yaw": [-150, -150, -150],
            "action": ["turn_left", "move_forward", "stop"],
        },
    }


def lhvln_task(**changes: Any) -> dict[str, Any]:
    more = {"Region Name": ["Bedroom", "Office"], "Region": ["0", "4"], "Geo dis": [0.5, 0.25]}
    task = lhvln_config(Object=["bag", "desk"], trial=lhvln_trial(), **more)
    return task | changes


def lhvln_step_task(**changes: Any) -> dict[str, Any]:
    """The second sub-task, with the start that `split_task.py` looks up by index -1: its end."""
    step = {
        "trajectory path": f"batch_7/2/{INSTRUCTION}/success/trial_1",
        "start": 2,
        "end": 3,
        "Robot": "spot",
        "Scene": SCENE,
        "target": ["desk"],
        "Region": ["4"],
        "start_pos": [0.875, 0.2, 4.28],
        "start_yaw": -150,
        "Task instruction": "Turn left, go to the desk",
    }
    return step | changes


def put_lhvln(root: Path, batch: str = "batch_7") -> Path:
    """One task with its expert and a step task."""
    folder = root / "task" / batch / "2" / INSTRUCTION
    put_json(folder / "config.json", lhvln_config())
    put_json(folder / "success" / "trial_1" / "task.json", lhvln_task())
    put_json(root / "step_task" / batch / "Turn left, go to the desk.json", lhvln_step_task())
    return folder


def vlnce_episode(**changes: Any) -> dict[str, Any]:
    """R2R-CE. Turned by 90 degrees to the left about y: it looks along -x of Habitat."""
    episode: dict[str, Any] = {
        "episode_id": 17,
        "trajectory_id": 4,
        "scene_id": "mp3d/17DRP5sb8fy/17DRP5sb8fy.glb",
        "start_position": [2.0, 0.1, -3.0],
        "start_rotation": [0.0, 0.7071067811865476, 0.0, 0.7071067811865476],
        "info": {"geodesic_distance": 6.5},
        "goals": [{"position": [-4.0, 0.1, -3.5], "radius": 3.0}],
        "instruction": {"instruction_text": "Walk out of the room.", "instruction_tokens": [1, 2]},
        "reference_path": [[2.0, 0.1, -3.0], [0.0, 0.1, -3.0], [-4.0, 0.1, -3.5]],
    }
    return episode | changes


def put_r2r(path: Path, *episodes: dict[str, Any]) -> Path:
    vocabulary = {"word_list": ["<pad>", "walk"]}
    return put_json(path, {"episodes": list(episodes), "instruction_vocab": vocabulary})


def rxr_episode(language: str = "en-IN", **changes: Any) -> dict[str, Any]:
    """RxR-CE: ids are strings, instructions have a language and an annotator."""
    said = {
        "instruction_id": "9",
        "instruction_text": "You are facing a sofa.",
        "language": language,
        "annotator_id": "22",
        "edit_distance": 0.1,
        "timed_instruction": [{"word": "You", "start_time": 0.2}],
        "instruction_tokens": [],
    }
    return vlnce_episode(episode_id="932", instruction=said) | changes
