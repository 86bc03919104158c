"""Work kept: now, by itself while one works, and opened again."""
