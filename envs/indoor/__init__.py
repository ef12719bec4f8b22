"""Procedural apartments in MuJoCo, and an agent that walks through them."""
