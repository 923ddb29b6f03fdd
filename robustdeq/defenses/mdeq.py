"""The multiscale deep equilibrium model."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from robustdeq.adjoints.base import Adjoint
from robustdeq.adjoints.unrolled import Unrolled
from robustdeq.defenses.base import Card, DefendedModel, Defense, Task
from robustdeq.defenses.regularised import equilibrium_penalty
from robustdeq.equilibrium import CellProblem
from robustdeq.errors import SpecError
from robustdeq.models.deq import DEQClassifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.models.mdeq import MultiscaleCell, MultiscaleHead, initialise, stem
from robustdeq.noise import RowNoise, TrainingNoise
from robustdeq.solvers.base import Solver
from robustdeq.solvers.picard import Picard


@dataclass(frozen=True)
class MDEQ(Defense):
    """Several resolutions of one image, driven to one equilibrium together.

    The paper's and its authors' later code's: block, fusion, injection into the finest scale alone,
    weight and group normalisation, start, one dropout mask per row and channel for all solver
    steps, a head over all scales, and a first share of training through `depth` weight-tied
    applications. Their CIFAR-10 networks are scales (24, 24), head (8, 16), final 200 (TINY,
    158,890 parameters) and scales (32, 64, 128, 256), head (14, 28, 56, 112), final 1680 (LARGE,
    11,097,438), both with expansion 5, groups 8, dropout 0.25 and 0.3, depth 10.

    Ours: the default size, for 8x8 digits, of about the parameters of `explicit` (24,619 and
    25,162), which is its control; a Jacobian penalty (Bai et al. 2021, equation 9) and plain Picard
    steps where they take Broyden's, whose answer depends on the batch; the unrolled gradient; no
    jitter of the step limit. During the warm-up attacks and held-out looks see the equilibrium.

    Attributes:
        scales: channels of each, finest first; the resolution halves from one to the next.
        head: widths inside the head's bottlenecks, one for each scale.
        final: channels before the read-out.
        expansion: of the width inside a residual block.
        groups: of the normalisations, half as many after the fusion.
        dropout: the share of channels dropped in each block, while training.
        warmup: the share of training that goes through `depth` plain applications.
        jacobian_penalty: weight of |J^T v|^2 / |v|^2 at the equilibrium, one probe a row.
        solver: the deployed one.
        adjoint: of training; attacks bring their own.
    """

    card: ClassVar[Card] = Card(
        title="Multiscale Deep Equilibrium Models",
        citation="Bai, Koltun, Kolter, NeurIPS 2020",
        equation="section 3, figure 3; structure and initialisation of the authors' later code",
        reported=("CIFAR-10, 10M parameters: 93.6 % (with augmentation); no robustness study",),
    )
    scales: tuple[int, ...] = (12, 12)
    head: tuple[int, ...] = (3, 6)
    final: int = 48
    expansion: int = 3
    groups: int = 4
    dropout: float = 0.0
    warmup: float = 0.1
    depth: int = 4
    jacobian_penalty: float = 1.0
    solver: Solver = field(default_factory=Picard)
    adjoint: Adjoint = field(default_factory=Unrolled)

    def __post_init__(self):
        if len(self.scales) < 2 or len(self.head) != len(self.scales):
            raise SpecError(
                f"mdeq: scales {self.scales} and head {self.head}; expected at least 2 scales and "
                f"one head width per scale"
            )
        if self.groups < 2 or self.groups % 2 or any(c % self.groups for c in self.scales):
            raise SpecError(
                f"mdeq: groups {self.groups}, scales {self.scales}; expected an even number of "
                f"groups that divides the channels of every scale"
            )
        if min(*self.scales, *self.head, self.final, self.expansion, self.depth) < 1:
            raise SpecError(
                f"mdeq: scales {self.scales}, head {self.head}, final {self.final}, expansion "
                f"{self.expansion}, depth {self.depth}; expected at least 1 of each"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.warmup <= 1 and self.jacobian_penalty >= 0):
            raise SpecError(
                f"mdeq: dropout {self.dropout}, warmup {self.warmup}, jacobian_penalty "
                f"{self.jacobian_penalty}; expected a share in [0, 1), one in [0, 1], and a weight "
                f">= 0"
            )

    def build(self, task: Task) -> DEQClassifier:
        in_channels, height, width = task.shape
        count = len(self.scales)
        if height % 2 ** (count - 1) or width % 2 ** (count - 1):
            raise SpecError(
                f"mdeq: images of {height}x{width} cannot be halved {count - 1} times for "
                f"{count} scales; enter fewer scales, or images whose sides divide evenly"
            )
        cell = MultiscaleCell(self.scales, (height, width), self.expansion, self.groups)
        head = MultiscaleHead(cell.parts, self.scales, self.head, self.final, task.classes)
        model = DEQClassifier(
            stem(in_channels, self.scales[0], count), cell, head, (cell.dim,),
            self.solver, self.adjoint,
        )  # fmt: skip
        initialise(model)
        return model

    def outputs(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        problem = self.problem(model, x, noise)
        if target.progress < self.warmup:
            z = problem.z0
            for _ in range(self.depth):
                z = problem(z)
            return model.readout(z)
        return model.readout(model.adjoint.solve(problem, model.solver).z)

    def penalty(self, target: DefendedModel, x: Tensor, noise: TrainingNoise) -> Tensor:
        model = require_equilibrium(target.classifier, self.chain)
        problem = self.problem(model, x, noise)
        return equilibrium_penalty(model, problem, noise, self.jacobian_penalty)

    def problem(self, model: EquilibriumNetwork, x: Tensor, noise: RowNoise) -> CellProblem:
        """The training problem: one dropout mask per row and channel for all solver steps."""
        problem = model.problem(x)
        if not self.dropout:
            return problem
        drawn = noise.child("dropout").uniform((sum(self.scales),)).to(x)
        mask = (drawn >= self.dropout).to(x) / (1.0 - self.dropout)
        return replace(problem, context=(*problem.context, mask))
