import _clouds
import _images
import pytest
import torch
from _data import Samples, hold_out, path_name, stratified_split
from _link_graphs import graph_name


def labels():
    return torch.tensor([0] * 40 + [1] * 11 + [2] * 3)[torch.randperm(54)]


def test_split_is_by_class_and_loses_nothing():
    y = labels()
    kept, held = stratified_split(y, 0.2, seed=0)
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(54))
    assert y[held].bincount(minlength=3).tolist() == [8, 2, 1]


def test_split_depends_on_the_seed_alone():
    y = labels()
    _, held = stratified_split(y, 0.2, seed=0)
    torch.manual_seed(99)
    assert torch.equal(held, stratified_split(y, 0.2, seed=0)[1])
    assert not torch.equal(held, stratified_split(y, 0.2, seed=1)[1])


@pytest.mark.parametrize("fraction", [0.0, 0.01])
def test_an_empty_split(fraction):
    kept, held = stratified_split(labels(), fraction, seed=0)
    assert held.numel() == 0
    assert kept.numel() == 54


def test_runs_of_other_seeds_may_share_a_split():
    samples = Samples(torch.arange(54), labels(), ["a", "b", "c"])
    config = {"val_fraction": 0.2, "seed": 0}
    held = hold_out(samples, config)[1].x
    assert torch.equal(held, stratified_split(samples.y, 0.2, seed=0)[1])
    assert not torch.equal(held, hold_out(samples, config | {"seed": 1})[1].x)
    assert torch.equal(held, hold_out(samples, config | {"seed": 1, "split_seed": 0})[1].x)


def test_samples_by_index_and_by_slice():
    samples = Samples(torch.arange(12.0).view(6, 2), torch.arange(6), ["a"])
    assert samples[torch.tensor([4, 1])].x.tolist() == [[8.0, 9.0], [2.0, 3.0]]
    assert samples[slice(1, None, 2)].y.tolist() == [1, 3, 5]
    assert len(samples[slice(0, 0)]) == 0


def test_a_name_is_the_last_part_of_a_path(tmp_path, monkeypatch):
    folder = tmp_path / "clouds"
    (folder / "part").mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for path, name in {
        ".": "clouds",
        "part/..": "clouds",
        "part/": "part",
        "..": tmp_path.name,
        "../link": "link",
        "nowhere": "nowhere",
    }.items():
        assert path_name(path) == name


def test_every_kind_of_data_in_the_current_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _clouds.data_name(".") == _images.data_name(".") == graph_name(".") == tmp_path.name
    assert _clouds.data_name("modelnet:.") == _images.data_name("mnist:.") == tmp_path.name
    assert _clouds.data_name("meshes:.") == f"meshes:{tmp_path.name}"
