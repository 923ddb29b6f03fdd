"""The penalty that keeps the cells of this package contractive while they train."""

from torch import Tensor

from robustdeq.equilibrium import CellProblem
from robustdeq.models.deq import jacobian_penalty
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import RowNoise
from robustdeq.solvers.base import solve
from robustdeq.surfaces.fast import ASCENT, affordable


def equilibrium_penalty(
    model: EquilibriumNetwork, problem: CellProblem, noise: RowNoise, weight: float
) -> Tensor:
    """weight |J^T v|^2 / |v|^2 at the equilibrium, one probe a row; 0 if the weight is 0."""
    if not weight:
        return problem.z0.new_zeros(())
    z = solve(problem, affordable(ASCENT, model)).z  # near enough: the Jacobian varies slowly
    v = model.probe(noise.child("jacobian"), z)
    return weight * jacobian_penalty(problem, z, v)
