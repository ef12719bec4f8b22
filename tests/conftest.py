"""Before any test module: a GL backend is chosen (MuJoCo reads MUJOCO_GL once, when something
first imports it), and the helpers beside the tests become importable (importlib mode)."""

import sys
from pathlib import Path

import torch

from worldsim.envs.gl import choose_backend

choose_backend()
sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
