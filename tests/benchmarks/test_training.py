import math
from dataclasses import replace

import pytest
import torch
from _capture import captured
from _checkpoint import load_checkpoint, save_checkpoint
from _cli import UsageError
from _distributed import Process
from _training import Splits, Task, Trainer, evaluate, smoothed_loss

TIMES = ("train_seconds", "eval_seconds")


def curves_of(trainer):
    return {key: value for key, value in trainer.curves.items() if key not in TIMES}


def train_to(trainer, epoch):
    while trainer.epoch < epoch:
        trainer.run_epoch()
    return trainer


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_interrupted_in_an_epoch_and_resumed_equals_uninterrupted(
    make_net, task, splits, config, schedule, optimizer, tmp_path
):
    config |= {"schedule": schedule, "optimizer": optimizer}
    whole = train_to(Trainer(make_net(), task, splits, config), 4)

    first = train_to(Trainer(make_net(), task, splits, config), 2)
    save_checkpoint(tmp_path / "c.pt", {"benchmark": "b", **first.state_dict()})
    steps = []
    with pytest.raises(KeyboardInterrupt):
        first.run_epoch(lambda score: steps.append(1) if not steps else interrupt())

    torch.manual_seed(12345)  # another process starts with other global state
    torch.rand(7)
    second = Trainer(make_net(), task, splits, config)
    second.load_state_dict(load_checkpoint(tmp_path / "c.pt", "b"))
    train_to(second, 4)

    assert curves_of(second) == curves_of(whole)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    assert second.best["epoch"] == whole.best["epoch"]
    for key, value in whole.best["model"].items():
        assert torch.equal(value, second.best["model"][key]), key


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("lost", ["shuffle", "augment", "torch"])
def test_every_random_state_matters(make_net, task, splits, config, lost):
    """The test above would notice if one of the saved generators were forgotten."""
    whole = train_to(Trainer(make_net(), task, splits, config), 2)
    first = train_to(Trainer(make_net(), task, splits, config), 1)
    state = first.state_dict()
    second = Trainer(make_net(), task, splits, config)
    state["random"][0][lost] = second.random_state()[lost]
    second.load_state_dict(state)
    train_to(second, 2)
    assert curves_of(second) != curves_of(whole)


def test_a_run_on_a_gpu_goes_on_without_one(make_net, task, splits, config):
    first = train_to(Trainer(make_net(), task, splits, config), 1)
    state = first.state_dict()
    gpu = torch.zeros(16, dtype=torch.uint8)  # seed and offset
    state["random"][0] |= {"augment": gpu, "cuda": gpu}
    second = Trainer(make_net(), task, splits, config)
    second.load_state_dict(state)
    assert torch.equal(second.shuffle.get_state(), first.shuffle.get_state())
    assert train_to(second, 2).epoch == 2


def test_same_seed_same_numbers_other_seed_others(make_net, task, splits, config):
    runs = [train_to(Trainer(make_net(), task, splits, config), 1) for _ in range(2)]
    other = train_to(Trainer(make_net(), task, splits, config | {"seed": 4}), 1)
    assert curves_of(runs[0]) == curves_of(runs[1])
    assert curves_of(runs[0]) != curves_of(other)


def test_it_learns(make_net, task, splits, config):
    trainer = train_to(Trainer(make_net(), task, splits, config | {"epochs": 15}), 15)
    assert trainer.curves["train_loss"][-1] < 0.8 * trainer.curves["train_loss"][0]
    assert trainer.curves["val_oa"][-1] > 0.7


def test_the_best_epoch_is_kept_as_it_was(make_net, task, splits, config):
    config |= {"lr": 1.0, "schedule": "constant", "epochs": 8}
    trainer = Trainer(make_net(), task, splits, config)
    weights = []
    for _ in range(8):
        trainer.run_epoch()
        weights.append({key: value.clone() for key, value in trainer.model.state_dict().items()})
    val = trainer.curves["val_oa"]
    assert max(val) > val[-1]  # else the last epoch would be the best and the test empty
    assert trainer.best["epoch"] == 1 + val.index(max(val))
    for key, value in weights[trainer.best["epoch"] - 1].items():
        assert torch.equal(value, trainer.best["model"][key]), key


def test_the_first_of_equally_good_epochs_is_best(make_net, task, splits, config, monkeypatch):
    trainer = Trainer(make_net(), task, splits, config)
    scripted = iter([0.2, 0.5, 0.5, 0.1])
    score = {"loss": 1.0, "macc": 0.0}
    monkeypatch.setattr(trainer, "evaluate", lambda samples: score | {"oa": next(scripted)})
    assert train_to(trainer, 4).best["epoch"] == 2


def test_the_loss_is_smoothed_as_asked():
    logits, y = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    target = 0.3 / 3 + 0.7 * torch.eye(3)[y]
    by_definition = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smoothed_loss(logits, y, {"label_smoothing": 0.3}), by_definition)


def test_an_epoch_visits_distinct_samples_in_a_new_order(make_net, task, splits, config):
    trainer = Trainer(make_net(), task, splits, config)
    first, second = (torch.cat(list(trainer.batches())) for _ in range(2))
    assert first.numel() == 24  # 3 whole batches of 8 out of 30
    assert first.unique().numel() == 24
    assert not torch.equal(first, second)


def test_evaluation_changes_nothing_and_does_not_depend_on_its_batches(
    make_net, task, splits, config
):
    model = make_net()
    trainer = Trainer(model, task, splits, config)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores = [
        evaluate(model, task, splits.test, config | {"eval_batch_size": size}, trainer.process)
        for size in (1, 5, 12)
    ]
    for score in scores[1:]:
        assert score["loss"] == pytest.approx(scores[0]["loss"], rel=1e-6)
        assert score["confusion"] == scores[0]["confusion"]
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_only_matrices_decay(make_net, task, splits, config):
    trainer = Trainer(make_net(), task, splits, config)
    decay = {
        id(p): group["weight_decay"]
        for group in trainer.optimizers[0].param_groups
        for p in group["params"]
    }
    model = trainer.model
    assert decay[id(model.head.weight)] == 0.01
    for parameter in (model.head.bias, model.body[1].weight, model.scale):
        assert decay[id(parameter)] == 0
    assert len(decay) == len(list(model.parameters()))


def test_muon_takes_hidden_matrices_alone(make_net, task, splits, config):
    trainer = Trainer(make_net(), task, splits, config | {"optimizer": "muon"})
    model, (adamw, muon) = trainer.model, trainer.optimizers
    assert isinstance(muon, torch.optim.Muon)
    (group,) = muon.param_groups
    assert [id(p) for p in group["params"]] == [id(model.body[0].weight)]
    assert group["weight_decay"] == 0.01
    others = [id(p) for group in adamw.param_groups for p in group["params"]]
    assert sorted([*others, id(model.body[0].weight)]) == sorted(map(id, model.parameters()))


def test_a_step_of_muon_turns_all_directions_alike(make_net, task, splits, config):
    """The update of a matrix ``[8, 6]`` is 0.2 sqrt(8) lr times a nearly orthogonal one."""
    how = {"optimizer": "muon", "weight_decay": 0.0, "clip_norm": 0.0, "schedule": "constant"}
    trainer = Trainer(make_net(), task, splits, config | how)
    before = trainer.model.body[0].weight.detach().clone()
    trainer.backward(torch.arange(8))
    trainer.optimizers[1].step()
    change = (trainer.model.body[0].weight.detach() - before) / (0.2 * 8**0.5 * 0.01)
    singular = torch.linalg.svdvals(change)
    assert singular.min() > 0.5  # five Newton-Schulz steps leave 0.7 to 1.2
    assert singular.max() < 1.4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_cycle_covers_the_whole_run(make_net, task, splits, config, optimizer):
    trainer = Trainer(make_net(), task, splits, config | {"optimizer": optimizer})
    rates = []
    for _ in range(4):
        trainer.run_epoch(
            lambda score: rates.append([s.get_last_lr()[0] for s in trainer.schedules])
        )
    assert len(rates) == 12
    assert all(len(set(step)) == 1 for step in rates)  # the same for both
    own = [step[0] for step in rates]
    assert max(own) == pytest.approx(0.01, rel=0.15)
    assert own[-1] < 1e-3 * max(own)


def test_clipping(make_net, task, splits, config):
    """SGD shows it: AdamW does not see the gradient's length."""
    lengths = []
    for clip in (0.0, 1e-3):
        trainer = Trainer(make_net(), task, splits, config | {"clip_norm": clip})
        trainer.run_epoch()
        grads = [p.grad.norm() for p in trainer.model.parameters()]
        lengths.append(float(torch.stack(grads).norm()))
    assert lengths[0] > 1e-2
    assert lengths[1] <= 1.001e-3


def test_without_validation_there_is_no_best(make_net, task, splits, config):
    none = Splits(splits.train, splits.val[slice(0, 0)], splits.test)
    trainer = train_to(Trainer(make_net(), task, none, config), 1)
    assert trainer.best is None
    assert "val_oa" not in trainer.curves


def test_errors_name_the_flag(make_net, task, splits, config):
    with pytest.raises(UsageError, match=r"--batch-size: 1 x 31 exceeds the 30 .* \(got 31\)"):
        Trainer(make_net(), task, splits, config | {"batch_size": 31})
    calls = []
    spoilt = replace(
        task, augment=lambda x, g, p: x * (math.inf if calls.append(1) or len(calls) > 2 else 1)
    )
    trainer = Trainer(make_net(), spoilt, splits, config)
    with pytest.raises(UsageError, match=r"--lr: the loss became nan in epoch 1.*\(got 0.01\)"):
        trainer.run_epoch()


def test_cuda_graphs_need_a_gpu(make_net, task, splits, config):
    with pytest.raises(UsageError, match=r"--cuda-graph: needs one process on a GPU \(got 1 on"):
        Trainer(make_net(), task, splits, config | {"cuda_graph": 4})


def test_recordings_outlast_epochs(make_net, task, splits, config, monkeypatch):
    """Of every five steps, one is run and four are replayed, wherever an epoch of three ends."""
    trainer, done = Trainer(make_net(), task, splits, config), []
    step = trainer.step
    trainer.step = lambda index: done.append("run") or step(index)

    def record(recorded, index, generator):
        assert recorded is trainer.step
        done.append("recorded")
        return lambda index: done.append("replayed") or step(index)

    monkeypatch.setattr("_training.captured", record)
    trainer.config = config | {"cuda_graph": 5}
    train_to(trainer, 4)
    period = ["run", "recorded", *["replayed"] * 4]
    assert done[:15] == [*period, *period, *period[:3]]
    assert len(done) == trainer.steps * 4 + done.count("recorded")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_replayed_steps_do_what_steps_do(make_net, splits, config, optimizer):
    """Without chance and with a constant rate there is no difference but rounding."""
    task = Task(
        augment=lambda x, g, progress: x,
        view=lambda x: x,
        classify=lambda model, x: model(x),
        radii=lambda model, x: {"input": float(x.norm(dim=-1).mean())},
        embed=lambda model, x: x[:, 0],
    )
    config |= {"optimizer": optimizer, "schedule": "constant", "batch_size": 4}
    process = Process(device=torch.device("cuda"))
    losses = []
    for more in ({}, {"cuda_graph": 3}):
        net = make_net()
        net.body[3].p = 0.0
        trainer = train_to(Trainer(net, task, splits, config | more, process), 3)
        losses.append(trainer.curves["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][2] < losses[0][0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_every_replay_draws_other_numbers():
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(index):
        return torch.rand(3, generator=generator, device="cuda") + index

    index = torch.zeros(3, dtype=torch.long, device="cuda")
    draw(index)
    again = captured(draw, index, generator)
    first, second = again(index).clone(), again(index + 5).clone()
    assert ((second - first - 5).abs() > 1e-6).all()


def test_augmentation_is_told_the_share_of_steps_done(make_net, task, splits, config):
    told = []
    task = replace(task, augment=lambda x, generator, progress: told.append(progress) or x)
    train_to(Trainer(make_net(), task, splits, config), 4)
    assert told == pytest.approx([i / 12 for i in range(12)])


def test_processes_shuffle_alike_and_augment_differently(make_net, task, splits, config):
    trainers = (Trainer(make_net(), task, splits, config, Process(rank)) for rank in (0, 1))
    first, second = (trainer.random_state() for trainer in trainers)
    same = {name for name in first if torch.equal(first[name], second[name])}
    assert same == {"shuffle"}


def test_without_validation_radii_are_measured_in_evaluation(make_net, task, splits, config):
    training = []
    radii = lambda model, x: training.append(model.training) or {"input": 1.0}  # noqa: E731
    none = Splits(splits.train, splits.val[slice(0, 0)], splits.test)
    Trainer(make_net(), replace(task, radii=radii), none, config).run_epoch()
    assert training == [False]


def test_a_cosine_ends_at_zero_and_its_rates_are_kept(make_net, task, splits, config):
    trainer = Trainer(make_net(), task, splits, config | {"schedule": "cosine", "epochs": 2})
    assert train_to(trainer, 2).curves["lr"] == pytest.approx([0.01, 0.005])
    assert trainer.schedules[0].get_last_lr() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_schedules_leave_momentum_alone(make_net, task, splits, config):
    trainer = Trainer(make_net(), task, splits, config)
    trainer.run_epoch()
    assert {group["betas"] for group in trainer.optimizers[0].param_groups} == {(0.9, 0.999)}
