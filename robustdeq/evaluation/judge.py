"""The judge: what the deployed predictor says of the attack's candidates, and nothing else."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robustdeq.answers import change, labels, margin
from robustdeq.evaluation.remote import Model
from robustdeq.models.base import Prediction
from robustdeq.noise import NoiseStream
from robustdeq.precision import full_precision
from robustdeq.samples import Samples

ALONE = 32  # rows that are also judged in a batch of one
SELECTION = 20  # draws of a randomised defense that choose among candidates
ASKED = 64  # inputs that tell whether answers are drawn
FRESH = 100  # draws that nothing was chosen by, which give its figure


@dataclass(frozen=True)
class Verdict:
    """The judge's answer for B rows: predictions under the first composition, robust under all."""

    prediction: Prediction
    right: Bool[Tensor, " batch"]
    spread: Float[Tensor, " batch"]

    @property
    def labels(self) -> Int[Tensor, " batch"]:
        """The label of the first answer."""
        return self.prediction.labels

    def settled(self, y: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The label of every row; -1 where it equals y in the first answer, but not in all."""
        return torch.where(self.right | (self.labels != y), self.labels, -1)


class Judge:
    """Predicts cold, with gradients off, on a copy of the model that no attack has touched.

    Every batch is answered in two orders and batch sizes, and some rows alone as well. A row counts
    as right only if every answer is; so a prediction that depends on its batch counts as broken.

    Args:
        target: freshly built and loaded.
        batch_size: of the first pass; the second uses another one.
        randomised: whether answers depend on the defense's own draws; then candidates are chosen by
            many of them, and not by the luck of one. None finds out by asking, on the first inputs
            for which it matters.
        salt: of the trial: keys the defense's draws and the order in which it is asked.
    """

    def __init__(
        self,
        target: Model,
        batch_size: int,
        randomised: bool | None = None,
        salt: str = "",
    ):
        self.target, self._batch_size, self._randomised = target, batch_size, randomised
        self.salt, self.noise = salt, NoiseStream(0, salt).child("judge")

    def on(self, target: Model) -> "Judge":
        """The same judge of another copy."""
        return Judge(target, self._batch_size, self._randomised, self.salt)

    def __call__(self, samples: Samples) -> Verdict:
        """Judge images by their true labels."""
        x, rows = samples.images, samples.positions
        first = self._predict(x, rows, self._batch_size)
        second = self._predict(x, rows, max(1, self._batch_size * 2 // 3)).logits
        some = self._order(len(x), 1).to(x.device)[:ALONE]
        alone = first.logits.clone()
        if len(some):
            alone[some] = self._predict(x[some], rows[some], 1).logits
        answers = torch.stack([first.logits, second, alone])
        right = (labels(answers) == samples.labels).all(0)
        return Verdict(first, right, change(answers, first.logits.expand_as(answers)).amax((0, 2)))

    @property
    def randomised(self) -> bool:
        """Whether answers are known to depend on the defense's own draws."""
        return bool(self._randomised)

    def draws(self, x: Tensor, rows: Tensor) -> bool:
        """Whether they do; asked of the first of these inputs where it is not known."""
        if self._randomised is None and len(x):
            asked = x[:ASKED], rows[:ASKED]
            self._randomised = not self.repeat(*asked).equal(self.redraw(*asked))
        return self.randomised

    def harm(self, samples: Samples) -> Float[Tensor, " batch"]:
        """How much a candidate does, (B,): below 0 exactly where the answer is right.

        Minus the true class's margin, infinite where there is no answer; of a randomised defense
        minus the share of `SELECTION` draws that are right.
        """
        x, rows = samples.images, samples.positions
        if self.draws(x, rows):
            return -self.share(samples, SELECTION, "selection")
        logits = self.repeat(x, rows)
        answer, lead = labels(logits), -margin(logits, samples.labels)
        right = answer == samples.labels
        tie = lead.new_tensor(torch.finfo(lead.dtype).tiny)  # a tie that goes to the true class
        lead = torch.where(right, lead.minimum(-tie), lead)
        return lead.masked_fill(answer == -1, torch.inf)

    def attackable(self, samples: Samples, clean: Verdict | None = None) -> Bool[Tensor, " batch"]:
        """Which rows are there to lose: the right ones; of a randomised defense those right at all.

        What one draw gets wrong another may get right.

        Args:
            clean: what this judge says of these rows, where it has been asked already.
        """
        if self.draws(samples.images, samples.positions):
            return self.harm(samples) < 0
        return (clean or self(samples)).right

    def share(self, samples: Samples, draws: int, name: str) -> Float[Tensor, " batch"]:
        """The share of draws, of a stream of this name, under which the answer is right (B,)."""
        x, rows = samples.images, samples.positions
        right = torch.zeros(len(x), device=x.device)
        for draw in range(draws):
            stream = self.noise.child(name, draw)
            logits = self._predict(x, rows, self._batch_size, stream).logits
            right += labels(logits) == samples.labels
        return right / draws

    def survival(
        self, samples: Samples, standing: Bool[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """How often final inputs are answered rightly (B,): 1 where a row stands, else 0.

        Of a randomised defense the share of `FRESH` draws, which chose nothing.

        Args:
            standing: which rows withstood the attack that chose the inputs.
        """
        if self.draws(samples.images, samples.positions):
            return self.share(samples, FRESH, "fresh")
        return standing.float()

    def answer(self, x: Tensor, rows: Tensor) -> Prediction:
        """The answer of the first composition alone."""
        return self._predict(x, rows, self._batch_size)

    def repeat(self, x: Tensor, rows: Tensor) -> Float[Tensor, "batch classes"]:
        """The logits of the first composition once more."""
        return self.answer(x, rows).logits

    def redraw(self, x: Tensor, rows: Tensor) -> Float[Tensor, "batch classes"]:
        """The logits under another draw of the defense's own noise."""
        return self._predict(x, rows, self._batch_size, self.noise.child("redraw")).logits

    @full_precision()
    def _predict(
        self, x: Tensor, rows: Tensor, batch_size: int, noise: NoiseStream | None = None
    ) -> Prediction:
        order = self._order(len(x), batch_size).to(x.device)
        parts = [
            self.target.predict(x[some], rows[some], noise or self.noise)
            for some in order.split(batch_size)
        ]
        back = order.argsort()
        return Prediction(
            torch.cat([part.logits for part in parts])[back],
            torch.cat([part.nfe for part in parts])[back],
            torch.cat([part.residual for part in parts])[back],
            torch.cat([part.converged for part in parts])[back],
        )

    def _order(self, count: int, batch_size: int) -> Int[Tensor, " n"]:
        """In which order images are asked: another for each batch size, unknown without the salt.

        In its slice's order an image would tell its position, and so what it is to be called.
        """
        return self.noise.hidden.child("order", batch_size).permutation(count)
