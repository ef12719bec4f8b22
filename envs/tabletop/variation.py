"""The tabletop's factors of variation, and how their values are written into a MuJoCo model."""

import mujoco
import numpy as np

from worldsim.envs.factors import Factor, FactorSpace, FactorValue, FactorValues
from worldsim.envs.tabletop.scene import DISTRACTORS, OBJECT_RGB, TABLE_PATTERNS, TABLE_RGB
from worldsim.envs.tabletop.views import EXTERIOR, place_camera


def _around(
    center: tuple[float, ...], radius: float, low: float = -9.0, high: float = 9.0
) -> tuple[tuple[float, float], ...]:
    return tuple((max(c - radius, low), min(c + radius, high)) for c in center)


_ORBIT_FIELDS = tuple(
    f"{orbit.name}_{field}" for orbit in EXTERIOR for field in ("azimuth", "elevation", "distance")
)
_NO_MOVE = (0.0,) * len(_ORBIT_FIELDS)

TABLETOP_FACTORS = FactorSpace(
    [
        Factor("object_size", ("scale",), (1.0,), ((0.92, 1.08),), ((0.84, 1.24),)),
        Factor(
            "object_color",
            ("red", "green", "blue"),
            OBJECT_RGB,
            _around(OBJECT_RGB, 0.06, 0.0, 1.0),
            ((0.45, 1.0), (0.0, 0.45), (0.0, 0.9)),
        ),
        Factor(
            "lighting",
            ("ambient", "diffuse", "azimuth_rad", "elevation_rad"),
            (0.42, 0.55, 2.5, 1.12),
            ((0.37, 0.47), (0.48, 0.62), (2.0, 3.0), (0.97, 1.27)),
            ((0.22, 0.60), (0.25, 0.75), (-3.15, 3.15), (0.60, 1.50)),
        ),
        Factor(
            "camera_pose",
            _ORBIT_FIELDS,
            _NO_MOVE,
            ((-0.03, 0.03), (-0.03, 0.03), (-0.015, 0.015)) * len(EXTERIOR),
            ((-0.16, 0.16), (-0.12, 0.12), (-0.06, 0.08)) * len(EXTERIOR),
        ),
        Factor("friction", ("scale",), (1.0,), ((0.88, 1.12),), ((0.56, 1.5),)),
        Factor("table_texture", ("pattern",), (0.0,), ((0.0, 1.0),), ((0.0, 2.0),), integer=True),
        Factor(
            "table_color",
            ("red", "green", "blue"),
            TABLE_RGB,
            _around(TABLE_RGB, 0.04, 0.0, 1.0),
            ((0.40, 0.95), (0.40, 0.95), (0.40, 0.95)),
        ),
        Factor(
            "distractors",
            ("count", "layout_seed"),
            (0.0, 0.0),
            ((0.0, DISTRACTORS - 1.0), (0.0, 9999.0)),
            ((0.0, float(DISTRACTORS)), (0.0, 9999.0)),
            integer=True,
        ),
    ]
)


class ModelVariation:
    """Writes factor values into one model, in place; knows the model's nominal numbers."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._object = model.geom("object").id
        self._table = model.geom("table").id
        self._light = model.light("key").id
        self._nominal_size = model.geom_size[self._object].copy()
        self._nominal_friction = float(model.geom_friction[self._object, 0])
        self._nominal_damping = model.dof_damping.copy()
        self._nominal_mass = float(model.body_mass[model.geom_bodyid[self._object]])
        self._nominal_inertia = model.body_inertia[model.geom_bodyid[self._object]].copy()
        # A material of index -1 is none: untextured surfaces draw faster.
        self._patterns = [-1, *(model.material(name).id for name in TABLE_PATTERNS)]

    def apply(self, values: FactorValues) -> None:
        """Set every number that the factors govern; `values` names all of them."""
        self._resize(values["object_size"][0])
        model = self._model
        model.geom_rgba[self._object, :3] = values["object_color"]
        self._slide(values["friction"][0])
        model.geom_matid[self._table] = self._patterns[int(values["table_texture"][0])]
        model.geom_rgba[self._table, :3] = values["table_color"]
        self._light_scene(values["lighting"])
        moves = np.reshape(values["camera_pose"], (len(EXTERIOR), 3))
        for orbit, move in zip(EXTERIOR, moves, strict=True):
            place_camera(model, orbit, *map(float, move))
        self._scatter(values["distractors"])

    def _resize(self, scale: float) -> None:
        model, geom = self._model, self._object
        size = self._nominal_size * scale
        model.geom_size[geom] = size
        model.geom_rbound[geom] = np.linalg.norm(size)
        model.geom_aabb[geom, 3:] = size
        body = model.geom_bodyid[geom]
        if model.body_dofnum[body] == 6:
            model.body_mass[body] = self._nominal_mass * scale**3
            model.body_inertia[body] = self._nominal_inertia * scale**5

    def _slide(self, scale: float) -> None:
        """Scale all that resists sliding: dry friction, and drag where the task has one."""
        model, geom = self._model, self._object
        model.geom_friction[geom, 0] = self._nominal_friction * scale
        body = model.geom_bodyid[geom]
        if model.body_dofnum[body] == 6:
            dofs = model.body_dofadr[body] + np.arange(6)
            model.dof_damping[dofs] = self._nominal_damping[dofs] * scale

    def _light_scene(self, value: FactorValue) -> None:
        ambient, diffuse, azimuth, elevation = value
        self._model.vis.headlight.ambient[:] = ambient
        self._model.light_diffuse[self._light] = diffuse
        toward = (
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
        )
        self._model.light_dir[self._light] = toward

    def _scatter(self, value: FactorValue) -> None:
        """Lay distractors along the table's edges, outside the objects' reach."""
        count, layout = int(value[0]), int(value[1])
        rng = np.random.default_rng(layout)
        for index in range(DISTRACTORS):
            body = self._model.body(f"distractor_{index}").id
            geom = self._model.geom(f"distractor_{index}").id
            angle = rng.uniform(0, 2 * np.pi)
            ring = np.array([np.cos(angle), np.sin(angle)])
            half = rng.uniform(0.012, 0.020)
            self._model.geom_size[geom] = half
            # Fully transparent geoms are not drawn at all.
            self._model.geom_rgba[geom] = (*rng.uniform(0.1, 0.9, 3), float(index < count))
            place = 0.19 * ring / np.abs(ring).max()
            self._model.body_pos[body] = (*place, half)
