"""A world without a simulator: a bright square pushed about on a dark plain."""
