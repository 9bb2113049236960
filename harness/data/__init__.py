"""Graphs, features, readers, cards."""
