"""A model behind numpy. Only here and in `training` the plugin imports torch and `sam2_model`."""
