"""Every impostor there is."""

from robustdeq.testing.impostors.base import Impostor
from robustdeq.testing.impostors.batch_coupling import BATCH_COUPLING
from robustdeq.testing.impostors.detached_equilibrium import DETACHED_EQUILIBRIUM
from robustdeq.testing.impostors.early_stop import EARLY_STOP
from robustdeq.testing.impostors.entropy_sharpening import ENTROPY_SHARPENING
from robustdeq.testing.impostors.gradient_flip import GRADIENT_FLIP
from robustdeq.testing.impostors.gradient_killer import GRADIENT_KILLER
from robustdeq.testing.impostors.hard_label import HARD_LABEL
from robustdeq.testing.impostors.known_images import KNOWN_IMAGES
from robustdeq.testing.impostors.logit_saturation import LOGIT_SATURATION
from robustdeq.testing.impostors.loss_underflow import LOSS_UNDERFLOW
from robustdeq.testing.impostors.nearest_image import NEAREST_IMAGE
from robustdeq.testing.impostors.query_memory import QUERY_MEMORY
from robustdeq.testing.impostors.random_depth import RANDOM_DEPTH
from robustdeq.testing.impostors.random_noise import RANDOM_NOISE
from robustdeq.testing.impostors.seventeen_levels import SEVENTEEN_LEVELS
from robustdeq.testing.impostors.stiff_cell import STIFF_CELL
from robustdeq.testing.impostors.two_faced import TWO_FACED

ZOO: tuple[Impostor, ...] = (
    LOGIT_SATURATION,
    LOSS_UNDERFLOW,
    DETACHED_EQUILIBRIUM,
    GRADIENT_KILLER,
    GRADIENT_FLIP,
    HARD_LABEL,
    TWO_FACED,
    STIFF_CELL,
    SEVENTEEN_LEVELS,
    EARLY_STOP,
    RANDOM_DEPTH,
    RANDOM_NOISE,
    BATCH_COUPLING,
    ENTROPY_SHARPENING,
    QUERY_MEMORY,
    KNOWN_IMAGES,
    NEAREST_IMAGE,
)
