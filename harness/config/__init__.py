"""Typed configuration: the single source of defaults, bounds and documentation."""
