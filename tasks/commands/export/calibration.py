"""Images from which the ranges of 8-bit activations are taken."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.errors import InputError
from tasks.data.files.images import read_image
from tasks.data.files.sources import Video, find
from tasks.data.sample import Sample
from tasks.deploy.artifact import fitted
from tasks.drawing.contact_sheet import spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from tasks.config.export import ExportConfig
    from tasks.data.sample import Transform
    from tasks.data.splits import Images

log = logging.getLogger(__name__)


class Calibration(NamedTuple):
    """Views (size, size, 3), and what the header says of them."""

    views: list[NDArray[np.uint8]]
    told: dict[str, Any]


def calibrate_on(
    config: ExportConfig, train: Images | None, transform: Transform, *, size: int, padding: Sequence[int]
) -> Calibration:
    """Images, evenly spread over the source, looked at as in evaluation.

    Args:
        train: the training split, where no other source is named.
        size, padding: of the graph's input.
    Raises:
        InputError: there are fewer images than asked for.
    """
    count, source = config.calibration_images, config.calibration_source
    files = _files(source) if source is not None else None
    there = len(files) if files is not None else len(train) if train is not None else 0
    if there < count:
        raise InputError(
            f"export.calibration_images={count}: {source or 'the training data'} has {there} images; say"
            f" export.calibration_images={max(there, 1)}, or name more by export.calibration_source=FOLDER"
        )
    views, names = [], []
    for place in spread(there, count):
        if files is not None:
            image = read_image(files[place])
            sample = Sample(image=image, image_id=place, size=(image.shape[0], image.shape[1]))
            names.append(files[place].name)
        else:
            assert train is not None
            sample = train[place]
            names.append(train.path(place).name)
        views.append(fitted(transform(sample, 0).image, size, padding, "calibration"))
    log.info("calibration: %d of %d images of %s", len(views), there, source or "the training data")
    return Calibration(views, {"source": source or "training data", "of": there, "pictures": names})


def _files(source: str) -> list[Path]:
    found = find(source)
    if isinstance(found, Video):
        raise InputError(f"export.calibration_source={source}: is a video; give images")
    return [Path(one.where) for one in found]
