"""What one does at a viewer: choices, commands and the mouse, and what the panel says of it. No Qt."""
