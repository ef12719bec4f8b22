"""IndoorNav recorded: panoramas, depth, poses and events as the data set gives them back."""

from pathlib import Path

import numpy as np

from worldsim.cli.main import main
from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset


def test_walks_are_recorded_with_depth_poses_and_events(tmp_path: Path) -> None:
    root = tmp_path / "walks"
    command = [
        *(
            "collect",
            "env=indoor",
            "episodes=3",
            "workers=0",
            "max_steps=8",
            "steps_after_success=2",
        ),
        *("env.image_size=16", "env.rooms=[2,3]", f"out={root}"),
    ]
    assert main(command) == 0
    assert main(["data", "verify", f"root={root}"]) == 0
    dataset = LeRobotDataset(root)
    spec = dataset.spec
    assert spec.depth == "radial" and spec.cameras[0].wrap and spec.camera_pose
    assert dataset.num_episodes == 3
    for index in range(3):
        arrays = dataset.arrays(index)
        rows = len(arrays["agent_pos"])
        assert arrays["camera_pose"].shape == (rows, 1, 4, 4)
        assert arrays["depth"].shape == (rows, 1, 16, 32) and (arrays["depth"] > 0).all()
        assert set(np.unique(arrays["events"])) <= {0.0, 1.0}
        # The agent begins at the origin of its own frame, and the camera rides above it.
        np.testing.assert_allclose(arrays["agent_pos"][0], [0, 0, 1, 0], atol=1e-6)
        place = arrays["camera_pose"][:, 0, :2, 3]
        np.testing.assert_allclose(place, arrays["agent_pos"][:, :2], atol=1e-5)
    assert set(build_cache(root).extras) == {"camera_pose", "depth", "events"}
