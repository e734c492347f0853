"""From an architecture to one graph: the seams that keep what mixes tokens whole, the export."""
