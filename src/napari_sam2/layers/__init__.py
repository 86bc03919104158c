"""napari layers as values, and values as layers. No Qt."""
