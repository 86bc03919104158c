"""The dock widget. The one room with Qt; what it shows and does is in `workbench` and `workspace`."""
