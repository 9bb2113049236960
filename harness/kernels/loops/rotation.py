"""Rotations of complex vectors, and their gradients."""

from __future__ import annotations

import numpy as np

from harness.kernels.loops.flags import loose

__all__ = ["rotate", "rotate_gradient"]


@loose
def rotate(anchor, cosine, sine, out, low, high):
    """Write out = anchor * (cosine + i sine) for rows low:high; real parts lie first."""
    half = np.uint64(cosine.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        for k in range(half):
            real, imaginary = anchor[i, k], anchor[i, k + half]
            out[i, k] = real * cosine[i, k] - imaginary * sine[i, k]
            out[i, k + half] = real * sine[i, k] + imaginary * cosine[i, k]


@loose
def rotate_gradient(anchor, cosine, sine, gradient, to_anchor, to_phase, low, high):
    """Write the gradients of ``rotate``: g conj(rotation) and Im(conj(rotated) g)."""
    half = np.uint64(cosine.shape[1])
    for i in range(np.uint64(low), np.uint64(high)):
        for k in range(half):
            real, imaginary = gradient[i, k], gradient[i, k + half]
            # Rotated back, the gradient is the anchor's; its component orthogonal to the anchor is
            # the phase's.
            back = real * cosine[i, k] + imaginary * sine[i, k]
            across = imaginary * cosine[i, k] - real * sine[i, k]
            to_anchor[i, k] = back
            to_anchor[i, k + half] = across
            to_phase[i, k] = anchor[i, k] * across - anchor[i, k + half] * back
