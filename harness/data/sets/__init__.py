"""Datasets, one file each: the card and the source."""
