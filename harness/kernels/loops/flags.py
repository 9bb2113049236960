"""How the loops are compiled."""

from __future__ import annotations

import numba

__all__ = ["contracting", "loose", "strict"]

_LOOSE = {"reassoc", "contract", "arcp", "nsz"}
loose = numba.njit(nogil=True, cache=True, fastmath=_LOOSE, error_model="numpy", boundscheck=False)
contracting = numba.njit(
    nogil=True, cache=True, fastmath={"contract"}, error_model="numpy", boundscheck=False
)
strict = numba.njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
