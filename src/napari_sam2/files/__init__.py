"""Everything on disk: prompts, labels, JSON; written so that nothing is lost, read so that nothing is believed."""
