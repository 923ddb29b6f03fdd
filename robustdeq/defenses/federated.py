"""Training on several machines that keep their images and can afford unequal solvers."""

from dataclasses import dataclass
from typing import ClassVar

from robustdeq.defenses.base import Card, Defense, Wrapper
from robustdeq.defenses.fusion import find_fusion
from robustdeq.errors import SpecError

_LEAST_ALPHA = 0.05  # below, all shares of a class but one are too small for a float


@dataclass(frozen=True)
class Federated(Wrapper):
    """Clients train the base on their own images; a server fuses their networks, round by round.

        theta_{r+1} = sum_k w_k theta_k,    theta_k = client k's network, trained from theta_r

    From the paper: the clients hold one equilibrium network; a weak device runs fewer fixed-point
    iterations on the same parameters instead of holding a smaller network; what is fused are
    networks of unequal quality, by a weighted average.

    Of the paper only the abstract and the introduction were accessible to us. Its weights, clients,
    split, rounds, local steps, optimiser, data and tables are not known here, so these are ours:

    - `robustdeq.defenses.fusion` has a family of weights; the default is FedAvg.
    - A client of budget K trains and crafts with the network's solver cut to K steps; what is left
      of the chain, the steps of an adjoint among it, is as it was. The fused network is looked at,
      kept and deployed with its whole budget.
    - Each round shares out the gradient steps of a central training on the same recipe, in
      proportion to the clients' images, so that such a training is the control at equal compute.
      Where a recipe has too few steps for every client in every round, each takes one.
    - A client starts a new AdamW every round, at the recipe's learning rate for that round.
    - Adversarial training inside: a client of few steps crafts weak inputs, and the average mixes
      networks trained on strong and on weak ones. That K is part of the budget.

    Attributes:
        clients: all of them take part in every round.
        rounds: of sending the network out and fusing what comes back.
        budgets: solver steps K, one a client or fewer that are repeated in turn; none means that
            every client affords the whole budget.
        fusion: fedavg, iterations, logarithmic, saturating or residual.
        by_images: weights in proportion to a client's images, too (a = 1).
        alpha: Dirichlet concentration of the skew in labels (Hsu, Qi, Brown 2019), at least 0.05;
            None deals the images at random.
    """

    loop: ClassVar[str] = "federated"
    card: ClassVar[Card] = Card(
        title="Deep Equilibrium Models Meet Federated Learning",
        citation="Gkillas, Ampeliotis, Berberidis, EUSIPCO 2023, arXiv 2305.18646",
        equation="not accessible to us: fusion weights and protocol are our own choice",
    )
    clients: int = 4
    rounds: int = 10
    budgets: tuple[int, ...] = (2, 4, 16, 60)
    fusion: str = "fedavg"
    by_images: bool = True
    alpha: float | None = None

    def __post_init__(self):
        super().__post_init__()
        find_fusion(self.fusion)
        for name in ("clients", "rounds"):
            if getattr(self, name) < 1:
                raise SpecError(f"federated: {name} {getattr(self, name)}; expected at least 1")
        if any(budget < 1 for budget in self.budgets):
            raise SpecError(f"federated: budgets {self.budgets}; a solver takes at least 1 step")
        if self.budgets and self.clients % len(self.budgets):
            raise SpecError(
                f"federated: {len(self.budgets)} budgets for {self.clients} clients; expected one "
                f"a client, or a number of budgets that divides {self.clients}"
            )
        if self.alpha is not None and not self.alpha >= _LEAST_ALPHA:
            raise SpecError(
                f"federated: alpha {self.alpha}; expected at least {_LEAST_ALPHA}, or none for "
                f"images dealt at random"
            )

    @property
    def control(self) -> Defense:
        """The same network trained in one place: whoever must share images has no other choice."""
        return self.base

    def budget(self, client: int) -> int | None:
        """The solver steps of client number `client`, from 0; None is the whole budget."""
        return self.budgets[client % len(self.budgets)] if self.budgets else None
