"""Training `nano` from nothing: generated scenes, and the stages of its curriculum."""
