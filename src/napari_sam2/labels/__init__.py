"""Label images and masks as values: merged, taken apart, read as prompts."""
