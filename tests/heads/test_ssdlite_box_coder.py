"""The box coder: its own inverse, and torchvision's."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from heads.ssdlite.box_coder import MAX_GROWTH, decode, encode, to_cxcywh, to_xyxy

coordinate = st.floats(-1, 2, width=32)
side = st.floats(0.03125, 1, width=32)  # a box may be at most 62.5 times larger than its default box
box = st.tuples(coordinate, coordinate, side, side)


def random_boxes(count: int) -> torch.Tensor:
    """boxes_cxcywh_rel (count, 4)."""
    return torch.cat([torch.rand(count, 2), 0.02 + torch.rand(count, 2)], dim=1)


@settings(deadline=None)
@given(box, box)
def test_decode_is_the_inverse_of_encode(
    values: tuple[float, float, float, float], default: tuple[float, float, float, float]
) -> None:
    boxes, defaults = torch.tensor([values]), torch.tensor([default])
    back = decode(encode(boxes, defaults), defaults)
    # a centre far away in units of a small default box loses digits
    torch.testing.assert_close(back, to_xyxy(boxes), atol=2e-5, rtol=1e-4)


@settings(deadline=None)
@given(box)
def test_corners_and_centres_are_inverse(values: tuple[float, float, float, float]) -> None:
    boxes = torch.tensor([values])
    torch.testing.assert_close(to_cxcywh(to_xyxy(boxes)), boxes, atol=1e-6, rtol=1e-5)


def test_equals_torchvision() -> None:
    torch.manual_seed(0)
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    boxes, defaults = random_boxes(300), random_boxes(300)
    theirs = coder.encode_single(to_xyxy(boxes), to_xyxy(defaults))
    torch.testing.assert_close(encode(boxes, defaults), theirs, atol=1e-4, rtol=1e-4)
    deltas = 5 * torch.randn(300, 4)
    torch.testing.assert_close(
        decode(deltas, defaults), coder.decode_single(deltas, to_xyxy(defaults)), atol=1e-4, rtol=1e-4
    )


def test_wild_growth_is_finite_and_torchvisions() -> None:
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    defaults = torch.tensor([[0.5, 0.5, 0.25, 0.25]])
    deltas = torch.tensor([[0.0, 0.0, 1e30, MAX_GROWTH / 0.2 + 1]])
    back = decode(deltas, defaults)
    assert back.isfinite().all()
    torch.testing.assert_close(back, coder.decode_single(deltas, to_xyxy(defaults)))


def test_encode_follows_the_papers_formula() -> None:
    deltas = encode(torch.tensor([[0.6, 0.3, 0.4, 0.1]]), torch.tensor([[0.5, 0.5, 0.2, 0.4]]))
    wanted = [0.1 / 0.2 / 0.1, -0.2 / 0.4 / 0.1, torch.tensor(2.0).log() / 0.2, torch.tensor(0.25).log() / 0.2]
    torch.testing.assert_close(deltas, torch.tensor([wanted]))


def test_leading_dimensions_are_free() -> None:
    defaults = random_boxes(6)
    deltas = torch.randn(2, 6, 4)
    assert torch.equal(decode(deltas, defaults)[1], decode(deltas[1], defaults))
    assert decode(torch.zeros(0, 6, 4), defaults).shape == (0, 6, 4)
