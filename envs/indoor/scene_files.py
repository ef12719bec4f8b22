"""Apartments as files that other programs read: .glb, Habitat's configurations, a description.

Nothing in them comes from anybody's scans or models, so they have no licence of others.

| file | what |
|---|---|
| `NAME.glb` | geometry, colours, light; y up |
| `NAME.stage_config.json` | which axis is up, and that nothing lights it again |
| `NAME.scene_instance.json` | the stage as a scene |
| `NAME.json` | rooms and named things, in our frame (z up) |
| `worldsim.scene_dataset_config.json` | Habitat's data set of all scenes of the folder |
"""

import struct
from pathlib import Path
from typing import Any

from worldsim.envs.indoor.episode import phrase
from worldsim.envs.indoor.glb import glb
from worldsim.envs.indoor.scene import Scene
from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path, read_json, write_json

DATASET = "worldsim.scene_dataset_config.json"
STAGE, INSTANCE = ".stage_config.json", ".scene_instance.json"


def scene_name(number: int, bounds: tuple[int, int]) -> str:
    """Stem of a scene's files: a number and the bounds of its rooms fix a scene."""
    return f"apartment_{number:07d}_rooms_{bounds[0]}_{bounds[1]}"


def export_scene(scene: Scene, folder: Path) -> Path:
    """Write a scene's files; those of the same name are replaced.

    Args:
        scene: any apartment.
        folder: made if it is not there.

    Returns:
        Its .glb file.
    """
    name = scene_name(scene.number, scene.bounds)
    path = folder / f"{name}.glb"
    with atomic_path(path) as temporary:
        temporary.write_bytes(glb(scene))
    stage = {
        "render_asset": path.name,
        "up": [0.0, 1.0, 0.0],
        "front": [0.0, 0.0, -1.0],
        "force_flat_shading": True,
        "units_to_meters": 1.0,
    }
    write_json(folder / f"{name}{STAGE}", stage)
    instance = {"stage_instance": {"template_name": name}, "default_lighting": "no_lights"}
    write_json(folder / f"{name}{INSTANCE}", instance)
    write_json(folder / f"{name}.json", describe(scene))
    paths = {".json": ["."]}
    write_json(folder / DATASET, {"stages": {"paths": paths}, "scene_instances": {"paths": paths}})
    return path


def describe(scene: Scene) -> dict[str, Any]:
    """Rooms and named things in plain JSON types: metres and radians, z up."""
    rooms = [
        {"name": room.use, "west_south_east_north": list(map(float, room.rect))}
        for room in scene.rooms
    ]
    things = [
        {
            "name": thing.name,
            "phrase": phrase(thing, scene.rooms),
            "room": scene.rooms[thing.room].use,
            "place": thing.place.tolist(),
            "yaw": float(thing.yaw),
            "size": [thing.thing.width, thing.thing.depth, thing.thing.height],
        }
        for thing in scene.things
    ]
    bounds = list(scene.bounds)
    return {"scene": scene.number, "rooms_bounds": bounds, "rooms": rooms, "things": things}


def find_stage(folder: Path, scene: Scene) -> Path:
    """The stage configuration of a scene that was exported into a folder.

    Raises:
        UsageError: a file of the scene is missing.
        DataError: a file is cut short, or belongs to another scene.
    """
    name = scene_name(scene.number, scene.bounds)
    asset, stage, said = (folder / f"{name}{end}" for end in (".glb", STAGE, ".json"))
    for path in (asset, stage, said):
        if not path.is_file():
            raise UsageError(
                f"scene {scene.number} has no file {path}; write it with `worldsim scene export "
                f"scenes=[{scene.number}] 'rooms={list(scene.bounds)}' out={folder}`"
            )
    with asset.open("rb") as file:
        head = file.read(12)
    length = struct.unpack("<4sII", head)[2] if head[:4] == b"glTF" and len(head) == 12 else None
    if length != asset.stat().st_size:
        raise DataError(
            f"{asset} is no whole .glb file: it has {asset.stat().st_size} bytes and says "
            f"{length}; export the scene again"
        )
    if read_json(said) != describe(scene):
        raise DataError(
            f"{said} describes another scene than number {scene.number} of this version of "
            "worldsim; export the scene again"
        )
    return stage
