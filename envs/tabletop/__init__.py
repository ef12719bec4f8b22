"""Four tabletop tasks for a parallel-jaw gripper, in MuJoCo."""
