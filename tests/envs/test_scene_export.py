"""Exported apartments hold what MuJoCo shows: read by code of its own, seen by rays of its own."""

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest
from glb_reading import colour_at, first_hits, read_glb

from worldsim.cli.main import main
from worldsim.envs.indoor.episode import space_of
from worldsim.envs.indoor.scene import Scene, build_scene
from worldsim.envs.indoor.scene_files import DATASET, STAGE, export_scene, find_stage, scene_name
from worldsim.envs.indoor.sensors import SensorConfig, agent_pose, look
from worldsim.errors import DataError, UsageError

NUMBERS = (3, 1_000_005)


def y_up(points: np.ndarray) -> np.ndarray:
    """Ours (x ahead, y left, z up) in glTF's axes (x right, y up, z back)."""
    return np.stack([-points[..., 1], points[..., 2], -points[..., 0]], axis=-1)


def standing(scene: Scene) -> np.ndarray:
    rng = np.random.default_rng(0)
    west, south, east, north = scene.rooms[0].inside
    places = rng.uniform((west, south), (east, north), (200, 2))
    found: np.ndarray = places[space_of(scene, 0.18).is_free(places, 0.1)][0]
    return found


@pytest.fixture(params=NUMBERS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return build_scene(request.param, 2, 4)


def exported(scene: Scene, folder: Path) -> bytes:
    return export_scene(scene, folder).read_bytes()


def test_every_triangle_is_there_within_the_same_bounds(scene: Scene, tmp_path: Path) -> None:
    document, meshes = read_glb(exported(scene, tmp_path))
    assert sum(len(mesh.places) for mesh in meshes) == scene.model.mesh_facenum.sum() > 500
    assert len(meshes) == scene.model.ngeom
    for mesh, box in zip(meshes, scene.boxes, strict=True):
        ends = np.sort(y_up(box), axis=0)
        np.testing.assert_allclose(mesh.places.min(axis=(0, 1)), ends[0], atol=1e-5)
        np.testing.assert_allclose(mesh.places.max(axis=(0, 1)), ends[1], atol=1e-5)
    names = {mesh.name.partition(":")[0] for mesh in meshes}
    assert names == {room.use for room in scene.rooms}
    assert all("KHR_materials_unlit" in part["extensions"] for part in document["materials"])


def test_normals_are_unit_and_triangles_turn_around_them(scene: Scene, tmp_path: Path) -> None:
    _, meshes = read_glb(exported(scene, tmp_path))
    for mesh in meshes:
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1.0, atol=1e-4)
        a, b, c = (mesh.places[:, k].astype(np.float64) for k in range(3))
        turned = np.einsum("nk,nk->n", np.cross(b - a, c - a), mesh.normals.mean(axis=1))
        assert (turned > 0).all(), mesh.name


def test_rays_end_where_mujocos_do(scene: Scene, tmp_path: Path) -> None:
    _, meshes = read_glb(exported(scene, tmp_path))
    eye = np.array([*standing(scene), 1.25])
    rays = np.random.default_rng(1).normal(size=(80, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    data, geom = mujoco.MjData(scene.model), np.zeros(1, np.int32)
    mujoco.mj_forward(scene.model, data)
    true = [mujoco.mj_ray(scene.model, data, eye, ray, None, 1, -1, geom) for ray in rays]
    places = np.concatenate([mesh.places for mesh in meshes])
    found, _, _ = first_hits(places, y_up(eye), y_up(rays))
    np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-4)


def test_colours_are_those_that_mujoco_draws(scene: Scene, tmp_path: Path) -> None:
    """Picture times light at the middles of pixels whose neighbours look the same."""
    _, meshes = read_glb(exported(scene, tmp_path))
    place, yaw, size = standing(scene), 0.4, 64
    sensor = SensorConfig("front", size, 90, 1.25, False)
    frame = look(scene, sensor, agent_pose(place, yaw)).pixels["front"].astype(np.float64)
    rows, columns = np.random.default_rng(2).integers(1, size - 1, (2, 150))
    ahead, left = np.ones(150), -(columns + 0.5 - size / 2) / (size / 2)
    up = -(rows + 0.5 - size / 2) / (size / 2)
    rays = np.stack([ahead, left, up], axis=1) @ agent_pose(place, yaw)[:3, :3].T
    places = np.concatenate([mesh.places for mesh in meshes])
    owner = np.repeat(np.arange(len(meshes)), [len(mesh.places) for mesh in meshes])
    first = np.concatenate([[0], np.cumsum([len(mesh.places) for mesh in meshes])])
    _, hits, weights = first_hits(places, y_up(np.array([*place, 1.25])), y_up(rays))
    errors = []
    for row, column, hit, weight in zip(rows, columns, hits, weights, strict=True):
        around = frame[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
        if np.ptp(around, axis=0).max() > 6:
            continue
        mesh = meshes[owner[hit]]
        seen = colour_at(mesh, int(hit - first[owner[hit]]), weight)
        errors.append(np.abs(seen - frame[row, column]).max())
    assert len(errors) > 30 and np.median(errors) < 4 and np.mean(np.array(errors) < 16) > 0.9


def test_a_folder_is_a_data_set_of_habitat(scene: Scene, tmp_path: Path) -> None:
    export_scene(scene, tmp_path)
    name = scene_name(scene.number, scene.bounds)
    stage = json.loads((tmp_path / f"{name}{STAGE}").read_text())
    assert (tmp_path / stage["render_asset"]).is_file()
    assert stage["up"] == [0, 1, 0] and stage["front"] == [0, 0, -1]
    assert json.loads((tmp_path / DATASET).read_text())["stages"]["paths"]
    said = json.loads((tmp_path / f"{name}.json").read_text())
    assert [thing["name"] for thing in said["things"]] == [thing.name for thing in scene.things]
    assert find_stage(tmp_path, scene) == tmp_path / f"{name}{STAGE}"


def test_files_that_are_missing_cut_short_or_of_another_scene(tmp_path: Path) -> None:
    scene = build_scene(3, 2, 2)
    with pytest.raises(UsageError, match=r"no file .*worldsim scene export scenes=\[3\]"):
        find_stage(tmp_path, scene)
    path = export_scene(scene, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(DataError, match="no whole .glb file"):
        find_stage(tmp_path, scene)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no whole .glb file"):
        find_stage(tmp_path, scene)
    path.write_bytes(whole)
    said = path.with_suffix(".json")
    said.write_text(said.read_text().replace("place", "spot", 1))
    with pytest.raises(DataError, match="describes another scene"):
        find_stage(tmp_path, scene)
    said.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        find_stage(tmp_path, scene)


def test_the_command_writes_scenes_and_refuses_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    assert main(["scene", "export", "scenes=[5,6]", "rooms=[2,2]", f"out={out}"]) == 0
    assert len(list(out.glob("*.glb"))) == 2 and "2 scenes" in capsys.readouterr().err
    for words, said in (
        ("scenes=[]", "expected numbers of apartments"),
        ("scenes=[-1]", "scenes"),
        ("scenes=[3000000]", "scenes"),
        ("scenes=7", "scenes"),
        ("rooms=[5,3]", "fewest first"),
        ("rooms=[1,3]", "rooms"),
        ("action=import", "action"),
    ):
        assert main(["scene", words, f"out={tmp_path / 'none'}"]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
