"""Weight files: found, downloaded, read, recognised, verified, written."""
