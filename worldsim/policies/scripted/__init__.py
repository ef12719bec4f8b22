"""Scripted experts of the tabletop tasks, with dials that spoil them, and play behaviour."""
