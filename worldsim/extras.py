"""Optional packages by import name, and the extra of worldsim that installs each."""

EXTRAS = {
    "stable_baselines3": "rl",
    "gymnasium_robotics": "robotics",
    "fastapi": "web",
    "uvicorn": "web",
    "rerun": "rerun",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "matplotlib": "plot",
    "hf_xet": "hub",
}
