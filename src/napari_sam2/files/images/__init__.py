"""Pixels of image files, read lazily: one module for each format."""
