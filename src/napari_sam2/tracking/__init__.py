"""Objects through a stack: what to follow in which order, and writing the results of a whole run."""
