"""SAM 2 on a stack of frames: its memory, its state, its predictor."""
