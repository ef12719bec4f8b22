"""Recordings in other formats, written as LeRobot sets: one file a format, one registry.

`formats.py` has the registry, `run.py` writes what any of them gives.
"""
