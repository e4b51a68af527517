import math

import pytest
import torch
from _image_view import ImageView, moved

STILL = {"shift": 0, "rotate": 0.0, "scale": 0.0, "flip": False, "cutout": 0}


def augmented(x, seed=0, **changes):
    return ImageView(STILL | changes).augmented(x, torch.Generator().manual_seed(seed))


def random_images(number=4, channels=3, height=9, width=12):
    return torch.randint(0, 256, (number, channels, height, width), dtype=torch.uint8)


def test_bytes_become_numbers_around_zero():
    x = torch.tensor([0, 51, 204, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    expected = torch.tensor([-1.0, -0.6, 0.6, 1.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(ImageView(STILL).plain(x), expected)
    torch.testing.assert_close(augmented(x), expected)


def test_all_randomness_comes_from_the_generator():
    x = random_images(8)
    changes = {"shift": 2, "rotate": 10.0, "scale": 0.1, "flip": True, "cutout": 3}
    first = augmented(x, **changes)
    assert first.shape == x.shape
    torch.manual_seed(1)
    assert torch.equal(first, augmented(x, **changes))
    assert not torch.equal(first, augmented(x, seed=1, **changes))


def test_shifts_are_whole_pixels_onto_black_and_each_as_likely():
    x = torch.zeros(2000, 2, 8, 11, dtype=torch.uint8)
    x[:, 0, 4, 5] = x[:, 1, 4, 6] = 255
    seen = augmented(x, shift=2)
    first, second = seen[:, 0].flatten(1), seen[:, 1].flatten(1)
    assert torch.equal(second.argmax(1), first.argmax(1) + 1)  # channels move together
    torch.testing.assert_close(first.sum(1), torch.full((2000,), -86.0))  # 87 black, one white
    row, col = first.argmax(1) // 11 - 4, first.argmax(1) % 11 - 5
    counts = torch.bincount((row + 2) * 5 + col + 2, minlength=25)
    assert counts.numel() == 25
    assert 40 < counts.min()
    assert counts.max() < 130


def one_move(x, angle=0.0, size=1.0, right=0.0, down=0.0):
    number = x.size(0)
    values = torch.tensor([angle]), torch.tensor([size]), torch.tensor([[right, down]])
    return moved(x, *(v.expand(number, *v.shape[1:]) for v in values))


def test_moves_of_known_images():
    x = torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(one_move(x), x)
    torch.testing.assert_close(one_move(x, angle=math.pi / 2), x.rot90(-1, (2, 3)))  # clockwise
    expected = torch.zeros_like(x)
    expected[..., :-1, 2:] = x[..., 1:, :-2]
    torch.testing.assert_close(one_move(x, right=2, down=-1), expected)
    doubled = one_move(torch.ones(1, 1, 6, 6), size=0.5)[0, 0]
    torch.testing.assert_close(doubled[2:4, 2:4], torch.ones(2, 2))
    torch.testing.assert_close(doubled.sum(), torch.tensor(36 / 4.0))


def test_an_oblong_image_is_turned_without_being_stretched():
    x = torch.rand(1, 1, 5, 9)
    turned = one_move(x, angle=math.pi / 2)
    torch.testing.assert_close(turned[..., 2:7], x[..., 2:7].rot90(-1, (2, 3)))
    torch.testing.assert_close(turned[..., :2], torch.zeros(1, 1, 5, 2))
    both = one_move(x, angle=math.pi / 2, right=1.0)  # turned first, then shifted
    torch.testing.assert_close(both[..., 1:], turned[..., :-1])


def moments(images):
    """Area and direction of the bright part of `[M, 1, S, S]`."""
    weight = (images[:, 0] + 1) / 2
    axis = torch.arange(weight.size(-1)) - (weight.size(-1) - 1) / 2
    area = weight.sum((1, 2))
    xx = (weight * axis**2).sum((1, 2))
    yy = (weight * axis[:, None] ** 2).sum((1, 2))
    xy = (weight * axis * axis[:, None]).sum((1, 2))
    return area, torch.atan2(2 * xy, xx - yy) / 2


def test_rotation_and_size_stay_in_their_range():
    x = torch.zeros(300, 1, 32, 32, dtype=torch.uint8)
    x[:, :, 14:18, 8:24] = 255
    area, angle = moments(augmented(x, rotate=30.0))
    torch.testing.assert_close(area, torch.full_like(area, 64.0), rtol=0.02, atol=0)
    assert 27 < angle.rad2deg().max() < 30.5
    assert -30.5 < angle.rad2deg().min() < -27
    area, angle = moments(augmented(x, scale=0.25))
    torch.testing.assert_close(angle, torch.zeros_like(angle), rtol=0, atol=1e-3)
    assert 0.55 < area.min() / 64 < 0.62
    assert 1.48 < area.max() / 64 < 1.58


def test_about_every_other_image_is_mirrored():
    x = random_images(100)
    plain, seen = ImageView(STILL).plain(x), augmented(x, flip=True)
    same = (seen == plain).flatten(1).all(1)
    mirrored = (seen == plain.flip(-1)).flatten(1).all(1)
    assert torch.equal(same, ~mirrored)
    assert 30 < mirrored.sum() < 70


@pytest.mark.parametrize("side", [3, 4])
def test_a_square_is_cut_out(side):
    x = torch.full((500, 2, 10, 8), 255, dtype=torch.uint8)
    seen = augmented(x, cutout=side)
    hole = seen[:, 0] == 0
    assert torch.equal(seen, torch.where(hole[:, None], 0.0, 1.0).expand_as(seen))
    assert hole.any(0).all()  # everywhere, in some image
    assert not torch.equal(hole[0], hole[1])
    rows, cols = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & cols[:, None])  # rectangles
    whole = hole.sum((1, 2)) == side * side
    assert whole.float().mean() > 0.2
    assert rows.sum(1).max() == cols.sum(1).max() == side
    assert (rows[:, 1:] != rows[:, :-1]).sum(1).max() <= 2  # without gaps
