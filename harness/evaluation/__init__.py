"""Scores to ranks to numbers."""
