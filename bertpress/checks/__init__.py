"""`bertpress check`: whether a result keeps its bounds, with labels and without."""
