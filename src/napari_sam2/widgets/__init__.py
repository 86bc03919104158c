"""The Qt of the plugin, and nothing else."""
