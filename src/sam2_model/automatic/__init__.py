"""Objects that nobody has prompted: what a model finds by itself in an image."""
