"""Decorators that compile a loop: three levels of freedom for floating-point optimisations."""

from __future__ import annotations

import numba

__all__ = ["contracting", "loose", "strict"]

# No "nnan" or "ninf": the compiler would drop the checks for NaN and infinity.
_LOOSE = {"reassoc", "contract", "arcp", "nsz"}
loose = numba.njit(nogil=True, cache=True, fastmath=_LOOSE, error_model="numpy", boundscheck=False)
contracting = numba.njit(
    nogil=True, cache=True, fastmath={"contract"}, error_model="numpy", boundscheck=False
)
strict = numba.njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
