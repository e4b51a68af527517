import pytest
import torch
from _cli import UsageError
from _sharpness import uphill
from _training import Trainer, smoothed_loss
from torch import nn

RHO = 0.3


def parameters_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def gradient_of(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def batch_seen_twice(make_net, task, splits, config, index):
    """What :meth:`Trainer.backward` does with `sam`, step by step from its definition."""
    trainer = Trainer(make_net(), task, splits, config)
    model, y = trainer.model, trainer.train.y[index]
    x = task.augment(trainer.train.x[index], trainer.augment, 0.0)
    dropout = torch.get_rng_state()
    first = smoothed_loss(model(x), y, config)
    grads = torch.autograd.grad(first, list(model.parameters()))
    seen = {name: buffer.clone() for name, buffer in model.named_buffers()}
    length = sum(g.square().sum() for g in grads).sqrt()
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads, strict=True):
            p += RHO * g / length
    torch.set_rng_state(dropout)
    second = smoothed_loss(model(x), y, config)
    grads = torch.autograd.grad(second, list(model.parameters()))
    return first, torch.cat([g.flatten() for g in grads]), seen


def test_gradients_are_those_of_the_worst_weights_nearby(make_net, task, splits, config):
    index = torch.arange(8)
    loss, grad, seen = batch_seen_twice(make_net, task, splits, config, index)
    trainer = Trainer(make_net(), task, splits, config | {"sam": RHO})
    before = parameters_of(trainer.model)
    _, labels, found = trainer.backward(index)
    torch.testing.assert_close(gradient_of(trainer.model), grad)
    assert torch.equal(parameters_of(trainer.model), before)
    assert found.item() == pytest.approx(loss.item())  # of the weights as they are
    assert torch.equal(labels, splits.train.y[index])
    for name, buffer in trainer.model.named_buffers():  # one batch was seen, not two
        torch.testing.assert_close(buffer, seen[name])


def test_it_is_not_the_plain_gradient(make_net, task, splits, config):
    found = []
    for sam in ({}, {"sam": None}, {"sam": RHO}):
        trainer = Trainer(make_net(), task, splits, config | sam)
        trainer.backward(torch.arange(8))
        found.append(gradient_of(trainer.model))
    assert torch.equal(found[0], found[1])
    assert (found[2] - found[0]).norm() > 0.05 * found[0].norm()


def test_uphill_goes_as_far_as_it_says():
    model = nn.Linear(3, 2)
    model.unused = nn.Parameter(torch.ones(4))  # has no gradient
    model(torch.ones(5, 3)).square().sum().backward()
    before, used = parameters_of(model), (model.weight, model.bias)
    grad = torch.cat([p.grad.flatten() for p in used])
    with pytest.raises(KeyboardInterrupt), uphill(model, RHO):
        assert torch.equal(model.unused, torch.ones(4))
        step = torch.cat([p.detach().flatten() for p in used]) - before[: len(grad)]
        torch.testing.assert_close(step, RHO * grad / grad.square().sum().sqrt())
        raise KeyboardInterrupt
    assert torch.equal(parameters_of(model), before)


def test_no_gradient_no_way(make_net):
    model = make_net()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = parameters_of(model)
    with uphill(model, RHO):
        assert torch.equal(parameters_of(model), before)


def test_it_cannot_be_recorded(make_net, task, splits, config):
    with pytest.raises(UsageError, match=r"--sam: cannot be recorded by --cuda-graph \(got 0.3\)"):
        Trainer(make_net(), task, splits, config | {"sam": RHO, "cuda_graph": 4})
