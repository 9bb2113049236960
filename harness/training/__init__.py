"""One training loop, its objectives, optimisers and checkpoints."""
