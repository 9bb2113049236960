"""Encoders: from raw names, images, numbers to feature matrices."""
