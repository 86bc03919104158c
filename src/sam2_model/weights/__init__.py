"""From a name or a file to a network: `loading.load_model` is the door; the other modules are what is behind it."""
