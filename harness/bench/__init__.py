"""Measurements of the harness itself: ``harness bench``.

``ceilings`` says what the machine can do, ``kernel_times`` how near the kernels come to it,
``peers`` how the whole compares with other libraries on the same data, ``growth`` how its time
grows with every size, ``quality`` that the fused kernels train as well as the plain definition.
"""
