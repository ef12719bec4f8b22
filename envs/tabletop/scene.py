"""The MJCF of the tabletop: table, gripper, cameras, distractors. Tasks add their objects.

Everything that varies between episodes is a body's place (mocap bodies, joints) or a number in
the model, so that no reset compiles a model.
"""

from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets" / "tabletop"

CONTROL_HZ = 10
TIMESTEP = 0.004
WORKSPACE_LOW = (-0.17, -0.17, 0.014)
WORKSPACE_HIGH = (0.17, 0.17, 0.22)
"""Limits of the end effector's target in metres."""
CLOSED_WIDTH, OPEN_WIDTH = 0.0, 0.08
"""Distance between the finger pads in metres."""

CAMERAS = ("exterior_1", "exterior_2", "wrist")
MOUNTED = (False, False, True)
DISTRACTORS = 3
TABLE_PATTERNS = ("checker", "gradient")
"""Materials of the table beside the plain one."""

TABLE_RGB = (0.80, 0.78, 0.74)
OBJECT_RGB = (0.86, 0.12, 0.10)


def cube_xml(mass: float, friction: float, smooth: bool) -> str:
    """MJCF of the cube.

    Heavy and low in friction, so that the hand moves it rather than tips it over: with a light cube
    on a rough table, half a millimetre at the start decided one push in five
    (docs/experiments/2026-11-21-luck-of-starts.md). No imagination can tell policies apart that
    luck does not.

    Args:
        mass: kilograms.
        friction: sliding friction against the table.
        smooth: whether the fingers too slide along it; otherwise they hold it.
    """
    return f"""
<body name="object" pos="0 0 0.025">
  <freejoint name="object"/>
  <geom name="object" class="object" type="box" size="0.025 0.025 0.025"
        rgba="0.86 0.12 0.10 1" mass="{mass}" friction="{friction} 0.005 0.0001"
        priority="{int(smooth)}"/>
</body>
"""


def scene_xml(objects: str) -> str:
    """The whole MJCF.

    Args:
        objects: MJCF of the task's bodies, inserted into the worldbody.
    """
    template = (ASSETS / "scene.xml").read_text(encoding="utf-8")
    return template.replace("<!-- objects -->", objects).replace(
        "<!-- distractors -->", "".join(_distractor(i) for i in range(DISTRACTORS))
    )


def _distractor(index: int) -> str:
    shape = ("box", "cylinder", "ellipsoid")[index % 3]
    return (
        f'<body name="distractor_{index}">'
        f'<geom name="distractor_{index}" class="visual" type="{shape}" size="0.02 0.02 0.02"/>'
        "</body>"
    )
