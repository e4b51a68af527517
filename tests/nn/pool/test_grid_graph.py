import itertools

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_hyperbolic.nn import centre_offset, grid_graph

#: kernel_size, stride, padding, dilation
WINDOWS = [
    *itertools.product((1, 2, 3), (1, 2), (0, 1), (1, 2)),
    (4, 3, 2, 1),
    (3, 1, 5, 1),  # windows that see nothing but padding
    ((2, 3), (1, 2), (0, 2), (2, 1)),
    ((1, 5), 1, (0, 2), 1),
    ((3, 1), (2, 3), (1, 0), (3, 1)),
]


@pytest.mark.parametrize("size", [(5, 5), (7, 5), (6, 9), (5, 12)], ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_edges_are_what_unfold_finds(size, window):
    kernel_size, stride, padding, dilation = window
    number = torch.arange(1.0, size[0] * size[1] + 1).view(1, 1, *size)  # 0 is padding
    columns = F.unfold(number, kernel_size, dilation, padding, stride)[0].long()
    target, offset = columns.T.nonzero(as_tuple=True)  # by output pixel, then by offset
    source = columns[offset, target] - 1

    edge_index, found = grid_graph(*size, kernel_size, stride, padding, dilation)
    assert edge_index.dtype == found.dtype == torch.long
    assert torch.equal(edge_index, torch.stack([source, target]))
    assert torch.equal(found, offset)


@pytest.mark.parametrize("window", WINDOWS[::3], ids=str)
def test_weights_by_offset_summed_over_edges_are_conv2d(window):
    kernel_size, stride, padding, dilation = window
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 2, 6, 7, generator=generator, dtype=torch.float64)
    conv = torch.nn.Conv2d(2, 3, kernel_size, stride, padding, dilation, bias=False).double()
    expected = conv(image)[0].flatten(1).T

    (source, target), offset = grid_graph(6, 7, kernel_size, stride, padding, dilation)
    pixels, weight = image[0].flatten(1).T, conv.weight.flatten(2)
    messages = torch.einsum("ei,oie->eo", pixels[source], weight[:, :, offset])
    out = torch.zeros_like(expected).index_add(0, target, messages)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kernel_size", [1, 3, (3, 5), (1, 7), (5, 1)], ids=str)
def test_the_centre_of_an_odd_window_is_the_output_pixel(kernel_size):
    height, width = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    edge_index, offset = grid_graph(8, 8, kernel_size, padding=(height // 2, width // 2))
    source, target = edge_index[:, offset == centre_offset(kernel_size)]
    assert torch.equal(source, torch.arange(64))
    assert torch.equal(target, torch.arange(64))


@pytest.mark.parametrize(
    ("kernel_size", "expected"), [(1, 0), (2, 0), (3, 4), (4, 5), ((2, 3), 1), ((4, 3), 4)]
)
def test_the_centre_of_an_even_window_is_the_lower_one(kernel_size, expected):
    assert centre_offset(kernel_size) == expected


def test_a_window_as_large_as_the_padded_image_fits_once():
    edge_index, offset = grid_graph(3, 5, (5, 3), padding=(1, 0), dilation=(1, 2))
    assert edge_index.tolist() == [[0, 2, 4, 5, 7, 9, 10, 12, 14], [0] * 9]
    assert offset.tolist() == [*range(3, 12)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 9, 4), r"'height' with padding must hold a window of 4 \(got 3\)"),
        ((9, 3, 4), r"'width' with padding must hold a window of 4 \(got 3\)"),
        ((9, 4, 3, 1, (0, 1), (1, 4)), r"'width' with padding must hold a window of 9 \(got 6\)"),
        ((0, 3, 1), r"'height' must be at least 1 \(got 0\)"),
        ((3, -1, 1), r"'width' must be at least 1 \(got -1\)"),
        ((3, 3, 0), r"'kernel_size' must be at least 1 \(got 0\)"),
        ((3, 3, 1, (1, 0)), r"'stride' must be at least 1 \(got \(1, 0\)\)"),
        ((3, 3, 1, 1, -1), r"'padding' must be at least 0 \(got -1\)"),
        ((3, 3, 1, 1, 0, 0), r"'dilation' must be at least 1 \(got 0\)"),
    ],
)
def test_windows_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid_graph(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3.0, 3, 1), r"'height' must be an int \(got 3\.0\)"),
        ((3, "3", 1), r"'width' must be an int \(got '3'\)"),
        ((3, 3, 1.5), r"'kernel_size' must be an int or a pair of ints \(got 1\.5\)"),
        ((3, 3, True), r"'kernel_size' must be .* \(got True\)"),
        ((3, 3, (1, 1, 1)), r"'kernel_size' must be .* \(got \(1, 1, 1\)\)"),
        ((3, 3, 1, (1, 1.0)), r"'stride' must be .* \(got \(1, 1\.0\)\)"),
        ((3, 3, 1, 1, "same"), r"'padding' must be .* \(got 'same'\)"),
        ((3, 3, 1, 1, 0, None), r"'dilation' must be .* \(got None\)"),
    ],
)
def test_windows_that_are_not_integers_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        grid_graph(*arguments)
