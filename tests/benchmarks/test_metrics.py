import pytest
import torch
from _metrics import Score


def test_against_the_definition_on_unequal_classes():
    y = torch.tensor([0] * 8 + [1] * 2)
    predicted = torch.tensor([0] * 6 + [1, 1] + [1, 0])
    logits = torch.nn.functional.one_hot(predicted, 2).float()
    score = Score(2, torch.device("cpu"))
    score.update(logits[:4], y[:4], torch.tensor(1.0))
    score.update(logits[4:], y[4:], torch.tensor(2.0))
    values = score.compute()
    assert values["oa"] == pytest.approx(7 / 10)
    assert values["macc"] == pytest.approx((6 / 8 + 1 / 2) / 2)
    assert values["loss"] == pytest.approx((4 * 1.0 + 6 * 2.0) / 10)
    assert values["confusion"] == [[6, 2], [1, 1]]  # rows: true class
    assert score.running() == pytest.approx((1.6, 0.7))


def test_the_class_mean_is_over_the_classes_of_the_truth():
    y, predicted = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 2, 1])  # no 2, and no 3 at all
    score = Score(4, torch.device("cpu"))
    score.update(torch.nn.functional.one_hot(predicted, 4).float(), y, torch.tensor(1.0))
    assert score.compute()["macc"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_running_score_counts_every_sample_once():
    score = Score(2, torch.device("cpu"))
    for y, loss in ((0, 1.0), (1, 2.0)):
        score.update(torch.eye(2)[:1], torch.tensor([y]), torch.tensor(loss))
        score.running()
    assert score.running() == (1.5, 0.5)
    assert score.compute()["confusion"] == [[1, 0], [1, 0]]


def test_results_may_be_overwritten_by_the_next_step():
    score, logits = Score(2, torch.device("cpu")), torch.eye(2)
    score.update(logits, torch.tensor([0, 1]), torch.tensor(1.0))
    logits.copy_(logits.flip(0))  # as the replay of a recorded step does
    assert score.compute()["oa"] == 1
