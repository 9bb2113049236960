"""Loops that numba compiles for the CPU, a module per module of kernels.

Each function works on a part ``low:high`` of its outputs; none allocates. ``op`` is a code
(``pairs.CODES``), ``vectors`` are (query [q, w], table [n, w], scale [q, w] or None), ``pairs`` and
all else in CSR form (indptr, indices).

Sums may be reordered and products fused (``flags.loose``), but NaN and infinity keep their meaning,
so that a score that is none is noticed. Loops that rank must not even reorder (``flags.strict``):
see ``tiles``. Importing a module imports numba: ``harness.kernels.compiled.loops`` does so on first
use, after it has set the cache folder.
"""
