"""A hash of what a volume shows, and of nothing else.

The same voxels under another name, compressed anew, stored in another type or axis order, hash alike: two files that
nobody would tell apart by their bytes are found to be one image.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from brats_lightning.data.reading import background_value
from brats_lightning.nifti import Volume


def digest(array: npt.NDArray[Any]) -> str:
    """Hash of an array (X, Y, Z) in RAS order, its background at 0.

    Args:
        array: Labels as uint8, images of any type of numbers; those of more than 24 bits are rounded.
    """
    kind = np.uint8 if array.dtype == np.uint8 else np.float32
    with np.errstate(over="ignore"):
        # The last axis first: files are read so, and what lies so is hashed as it lies. Adding 0 makes -0 a 0.
        plain = np.ascontiguousarray(np.add(array.T, 0, dtype=kind, casting="unsafe"))
    hashed = xxhash.xxh3_128(f"{np.dtype(kind).name} {array.shape}".encode())
    hashed.update(plain.data)
    return hashed.hexdigest()


def digest_of_image(volume: Volume, *, whole_head: bool = False) -> str:
    """The same of an image as its file has it.

    Args:
        volume: (X, Y, Z) in the order of its file.
        whole_head: It has no background that could be told from the rest.
    """
    array = volume.ras().array
    background = None if whole_head else background_value(array)
    image = np.empty(array.shape[::-1], np.float32).transpose()
    np.subtract(array, background or 0, out=image, casting="unsafe")
    return digest(image)
