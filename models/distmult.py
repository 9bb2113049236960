"""DistMult, in which a relation is a diagonal matrix."""

from __future__ import annotations

from harness.model import Capabilities, register_model

from ._bilinear import BilinearConfig, StructuralBilinear


@register_model("distmult")
class DistMult(StructuralBilinear):
    """score(h, r, t) = sum_k h_k r_k t_k, symmetric in head and tail.

    Yang et al., Embedding Entities and Relations for Learning and Inference in Knowledge Bases
    (2015).
    """

    Config = BilinearConfig
    capabilities = Capabilities(
        title="DistMult",
        reference="Yang et al. 2015",
        formula="sum h r t",
    )
    is_complex = False
