"""The ledger: what counts as broken, what is asked, what the judge is shown."""

import torch
from toys import ToySurface, confirmed

from robustdeq.attacks.incumbents import Incumbents
from robustdeq.samples import Samples

# One pixel an image; the surrogate loses label 0 above 0.5, the deployed predictor above 0.8.
Y = torch.tensor([0, 0, 0])


def surrogate(x):
    return torch.cat([torch.full_like(x, 0.5), x], 1)


def deployed(x):
    return torch.cat([torch.full_like(x, 0.8), x], 1)


def ledger(start=(0.1, 0.1, 0.1), y=Y):
    surface = ToySurface(surrogate, deployed)
    samples = Samples(torch.tensor(start)[:, None], y, torch.tensor([7, 8, 9]))
    return surface, Incumbents(confirmed(surface), samples)


def observe(found, index, pixels):
    index, x = torch.tensor(index), torch.tensor(pixels)[:, None]
    logits = surrogate(x)
    found.observe(index, x, logits[:, 1] - logits[:, 0], logits)
    return found.left(index).tolist()


def test_only_what_the_deployed_predictor_confirms_is_dropped():
    _, found = ledger()
    assert observe(found, [0, 1, 2], [0.3, 0.6, 0.9]) == [True, True, False]
    assert found.active().tolist() == [0, 1]


def test_only_rows_the_surrogate_lost_are_asked_about():
    surface, found = ledger()
    observe(found, [0, 1, 2], [0.3, 0.6, 0.9])
    ((rows, x),) = surface.asked
    assert rows == [8, 9]
    torch.testing.assert_close(x, torch.tensor([[0.6], [0.9]]))


def test_a_refused_row_is_asked_about_again_only_when_its_margin_grew():
    surface, found = ledger()
    for pixel in (0.6, 0.55, 0.6, 0.7):
        observe(found, [1], [pixel])
    assert [round(x.item(), 2) for _, x in surface.asked] == [0.6, 0.7]


def test_candidates_are_the_confirmed_then_the_highest_then_the_last_iterate():
    _, found = ledger()
    observe(found, [0, 1, 2], [0.3, 0.7, 0.9])
    observe(found, [0, 1], [0.2, 0.6])
    shown = found.candidates()[:, :, 0]
    torch.testing.assert_close(
        shown, torch.tensor([[0.3, 0.7, 0.9], [0.3, 0.7, 0.9], [0.2, 0.6, 0.9]])
    )


def test_a_confirmed_iterate_comes_before_one_of_higher_objective():
    _, found = ledger()
    for pixel, value in ((0.7, 5.0), (0.9, 1.0)):
        x = torch.tensor([[pixel]])
        found.observe(torch.tensor([0]), x, torch.tensor([value]), surrogate(x))
    torch.testing.assert_close(found.candidates()[:, 0, 0], torch.tensor([0.9, 0.7, 0.9]))


def test_a_row_the_surrogate_had_wrong_from_the_start_is_still_attacked():
    _, found = ledger(start=(0.6, 0.6, 0.6))
    assert observe(found, [0, 1, 2], [0.6, 0.6, 0.6]) == [True, True, True]
    assert observe(found, [0, 1, 2], [0.7, 0.7, 0.85]) == [True, True, False]


def test_a_value_that_is_no_number_is_put_before_the_deployed_predictor():
    surface, found = ledger()
    nan = torch.full((1, 2), float("nan"))
    found.observe(torch.tensor([0]), torch.tensor([[0.9]]), nan[:, 0], nan)
    assert [rows for rows, _ in surface.asked] == [[7]]
    assert found.active().tolist() == [1, 2]
    assert found.candidates()[0, 0].item() == torch.tensor(0.9).item()


def test_a_tie_is_doubted_only_where_it_goes_to_another_class():
    """Ties of quantized logits were taken for lost; the judge gives them to the lower class."""
    surface, found = ledger(y=torch.tensor([0, 1, 1]))
    x, logits = torch.zeros(3, 1), torch.tensor([[1.0, 1.0], [1.0, 1.0], [-torch.inf, 1.0]])
    found.observe(torch.arange(3), x, torch.zeros(3), logits)
    ((rows, _),) = surface.asked
    assert rows == [8]
