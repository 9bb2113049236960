"""CPU loops compiled by numba, one module per module of kernels.

Each function computes the part ``low:high`` of its outputs, which the caller allocates. ``op`` is a
code of ``pairs.CODES``, ``vectors`` are (query [q, w], table [n, w], scale [q, w] or None), and
``pairs`` are CSR arrays (indptr [q + 1], indices [p]).

The compiler may reorder sums and fuse products (``flags.loose``) but must respect NaN and infinity,
so that non-finite scores are detected. Loops that rank must not reorder either (``flags.strict``;
see ``tiles``). Importing a module imports numba, so ``harness.kernels.compiled.loops`` imports it
on first use, after setting the cache folder.
"""
