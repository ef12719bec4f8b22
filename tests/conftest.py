"""Before any test module: MuJoCo reads MUJOCO_GL once, when something first imports it."""

from worldsim.envs.gl import choose_backend

choose_backend()
