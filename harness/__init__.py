"""Run, store and report multi-modal knowledge graph completion experiments."""

__version__ = "0.1.0"
