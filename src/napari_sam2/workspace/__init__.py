"""The image in work: what is prompted, asked, held, committed and undone. No Qt."""
