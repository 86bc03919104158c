"""The command `napari-sam2`."""

from napari_sam2.cli.verbs import main

__all__ = ["main"]
