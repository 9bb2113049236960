"""The lookup baseline on a device that is not the host's."""

from __future__ import annotations

import torch

from harness.catalog import build_model, load_models
from harness.index import FilterIndex, GraphIndex

load_models()


def test_known_answers_are_copied_to_the_device_once() -> None:
    index = GraphIndex(4, 1, torch.tensor([[0, 0, 1], [2, 0, 3]]))
    model = build_model("lookup", {}, index)
    copies = []

    class OnHost:
        def to(self, device: torch.device) -> FilterIndex:
            copies.append(device)
            return index.train_filter

    model.train_filter = OnHost()  # type: ignore[assignment]
    for anchor, answer in ((0, 1), (2, 3)):
        queries = torch.tensor([anchor]), torch.tensor([0])
        assert model.score_all({}, *queries, "tail").argmax() == answer
    assert copies == [torch.device("cpu")]
