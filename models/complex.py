"""ComplEx, DistMult with complex vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.model import Capabilities, register_model

from ._bilinear import BilinearConfig, StructuralBilinear


class ComplExConfig(BilinearConfig):
    """Options of ComplEx."""

    dim: Annotated[int, Field(ge=1)] = 256
    """Complex components: all vectors are 2 * dim real numbers."""


@register_model("complex")
class ComplEx(StructuralBilinear):
    """score(h, r, t) = Re(sum_k h_k r_k conj(t_k)).

    Trouillon et al., Complex Embeddings for Simple Link Prediction (2016).
    """

    Config = ComplExConfig
    capabilities = Capabilities(
        title="ComplEx",
        reference="Trouillon et al. 2016",
        formula="Re sum h r conj(t)",
    )
