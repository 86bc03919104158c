"""`python -m napari_sam2.cli`, where the command itself is not on the path."""

import sys

from napari_sam2.cli.verbs import main

if __name__ == "__main__":
    sys.exit(main())
