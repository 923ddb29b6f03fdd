"""What images and labels have to be; a refusal names the likely cause and the next step."""

from jaxtyping import Bool
from torch import Tensor, float32, int64

from robustdeq.errors import DataError
from robustdeq.noise import NoiseStream

_DRAWS = 100
NOISE = 1e-6  # what float32 arithmetic leaves outside [0, 1]: the slack of a threat set


def check_layout(images: Tensor, labels: Tensor) -> None:
    """
    Raises:
        DataError: they are no batch of images, or not one label for each.
    """
    shape = tuple(images.shape)
    if images.ndim != 4 or images.numel() == 0:
        steps = {2: "; reshape the rows", 3: "; add the missing axis, images[:, None] for gray"}
        raise DataError(
            f"images have shape {shape}; expected (N, channels, height, width) with at least one "
            f"image{steps.get(images.ndim, '')}"
        )
    if images.dtype != float32:
        raise DataError(f"images are {images.dtype}; expected torch.float32, scaled to [0, 1]")
    if labels.shape != (len(images),):
        raise DataError(
            f"{len(images)} images with labels of shape {tuple(labels.shape)}; "
            f"expected one label per image, ({len(images)},){_label_step(labels, len(images))}"
        )
    if labels.dtype != int64:
        raise DataError(f"labels are {labels.dtype}; expected torch.int64 class numbers")


def check_pixels(images: Tensor) -> None:
    """
    Raises:
        DataError: a pixel is no number in [0, 1]; the message names the image and the cause.
    """
    bad = ~((images >= 0) & (images <= 1))  # written so that NaN is bad, too
    if bad.any():
        row = int(bad.flatten(1).any(1).nonzero()[0])
        value = images[row][bad[row]][0].item()
        raise DataError(f"image {row} holds the pixel {value:g}; expected [0, 1]: {_cause(images)}")


def check_labels(labels: Tensor, classes: int | None) -> None:
    """
    Raises:
        DataError: a label is negative, or not below the number of classes where that is known.
    """
    if classes is not None and classes < 2:
        raise DataError(
            f"{classes} class, of which every answer is right; expected at least 2, with a logit "
            f"each: a network of one logit z has the logits (0, z)"
        )
    bad = (labels < 0) if classes is None else (labels < 0) | (labels >= classes)
    if bad.any():
        row = int(bad.nonzero()[0])
        wanted = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise DataError(
            f"label {int(labels[row])} of image {row} is out of range; expected {wanted}: "
            f"renumber the classes from 0"
        )


def check_shape(images: Tensor, shape: tuple[int, int, int]) -> None:
    """
    Raises:
        DataError: the images have another (channels, height, width) than the model's.
    """
    found = tuple(images.shape[1:])
    if found == shape:
        return
    channels, height, width = shape
    if found == (height, width, channels):
        step = "the channels come last: give images.permute(0, 3, 1, 2)"
    elif found[1:] == shape[1:]:
        step = f"the model sees {'gray' if channels == 1 else f'{channels} channels'}: convert them"
    else:
        step = "resize the images as those were that it was trained on, or train one on these"
    raise DataError(f"images are {found} (channels, height, width), the model's {shape}; {step}")


def check_variety(labels: Tensor, what: str) -> None:
    """
    Raises:
        DataError: several images, all of one class, which a constant answer gets right.
    """
    if len(labels) > 1 and bool((labels == labels[0]).all()):
        raise DataError(
            f"all {len(labels)} {what} images are of class {int(labels[0])}; a constant answer "
            f"would be right on each, under any attack: expected at least two classes"
        )


def unlearned(train: Tensor, test: Tensor) -> list[int]:
    """The classes that have test images and no training image."""
    return sorted(set(test.tolist()) - set(train.tolist()))


def check_first(labels: Tensor, n: int) -> None:
    """
    Raises:
        DataError: the first n hold fewer classes than each of a hundred random choices of n, as
            those of files sorted by class do.
    """
    held = len(labels[:n].unique())
    draws = (NoiseStream(0).permutation(len(labels), draw)[:n] for draw in range(_DRAWS))
    if held < min(len(labels[chosen].unique()) for chosen in draws):
        raise DataError(
            f"the first {n} of {len(labels)} images hold {held} of {len(labels.unique())} classes; "
            f"expected as many as images chosen at random hold"
        )


def repeated(images: Tensor, others: Tensor) -> Bool[Tensor, " n"]:
    """Which images are among the others, bit for bit."""
    known = {image.tobytes() for image in others.cpu().numpy()}
    return images.new_tensor([image.tobytes() in known for image in images.cpu().numpy()]).bool()


def _label_step(labels: Tensor, count: int) -> str:
    if labels.ndim == 2 and len(labels) == count:
        if labels.shape[1] == 1:
            return ": give labels[:, 0]"
        return ": if these are one-hot or scores, give labels.argmax(1)"
    return ""


def _cause(images: Tensor) -> str:
    """Why pixels lie outside [0, 1], as far as their range tells."""
    if not bool(images.isfinite().all()):
        return "repair or drop the image"
    low, high = images.min().item(), images.max().item()
    if low >= -NOISE and high <= 1 + NOISE:
        return "this is rounding noise, clamp the images to [0, 1]"
    if low >= -1 - NOISE and high <= 1 + NOISE:
        return "images in [-1, 1] become (images + 1) / 2"
    if low < 0:
        return (
            "undo the normalization by mean and standard deviation, which is part of a model here"
        )
    if high > 255:
        return "divide by the white level, 65535 where pixels have 16 bits"
    return "divide by the white level, 255 where pixels have 8 bits"
