"""A module per kind of table."""
