"""DICOM images as a radiologist's screen shows them: rescaled, through their window, in 8 bits.

Nothing of a file but its pixels is kept, and no message quotes it: its elements name a patient.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from typing import TYPE_CHECKING, Any, Final

from mllmu_med.errors import UserError
from mllmu_med.image_bytes import MAX_PIXELS, ImageError
from mllmu_med.pixels import scaled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_COLOURS: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_MORE: Final = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
#: What pydicom raises over a damaged file; its words then may quote the file.
_DAMAGE: Final = (
    OSError, ValueError, AttributeError, LookupError, TypeError, RuntimeError, EOFError,
    struct.error,
)  # fmt: skip


def from_dicom(data: bytes) -> tuple[Image, bool]:
    """The image, grey or RGB; and whether the file says that no text is burned into it.

    Raises:
        ImageError: no image or several, text burned in, or pixels that cannot be decoded.
        UserError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UserError("DICOM images need pydicom: pip install pydicom") from error
    from PIL import Image as images

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote the file
    warnings.filterwarnings("ignore", module=r"pydicom|mllmu_med\.dicom")
    advice = ""
    try:
        file = pydicom.dcmread(io.BytesIO(data))
        syntax = file.file_meta.TransferSyntaxUID
        if syntax.is_compressed:
            advice = f", or is {syntax.name} of a kind that needs more: {_MORE}"
        _check(file, syntax)
        stored = pydicom.pixels.pixel_array(file)
        grey = file.PhotometricInterpretation in _GREY
        image = images.fromarray(_grey(file, stored) if grey else _colour(file, stored))
    except (*_DAMAGE, pydicom.errors.BytesLengthException) as error:
        raise ImageError(f"is damaged DICOM ({type(error).__name__}){advice}") from error
    return image, file.get("BurnedInAnnotation") == "NO"


def _check(file: Any, syntax: Any) -> None:
    from pydicom.pixels import get_decoder

    if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ImageError("is DICOM without an image")
    if (frames := int(file.get("NumberOfFrames") or 1)) > 1:
        raise ImageError(f"is DICOM with {frames:,} frames: save each as a PNG")
    if file.Rows * file.Columns > MAX_PIXELS:
        raise ImageError(f"has {file.Columns:,} x {file.Rows:,} pixels, over {MAX_PIXELS:,}")
    if str(file.get("BurnedInAnnotation")).strip().upper() == "YES":
        raise ImageError("is DICOM with burned-in annotation: black it out, or leave the image out")
    if file.PhotometricInterpretation not in _GREY + _COLOURS:
        raise ImageError(f"is DICOM in colours that are not read ({', '.join(_COLOURS)} are)")
    try:
        decodes = get_decoder(syntax).is_available
    except NotImplementedError:
        decodes = False
    if not decodes:
        raise ImageError(f"is DICOM in {syntax.name}, which cannot be decoded here: {_MORE}")


def _grey(file: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """[height, width], by the first VOI LUT or window; without one, by the range of the values."""
    import numpy as np
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = np.asarray(apply_modality_lut(stored, file), np.float64)
    # Padding is no part of the image: its value is often far below all others.
    image = values[stored != file.get("PixelPaddingValue")]
    if file.get("VOILUTSequence"):
        entries, start, _ = file.VOILUTSequence[0].LUTDescriptor
        ends = apply_voi_lut(np.arange(start, start + (entries or 2**16)), file)
    elif np.ravel(np.asarray(file.get("WindowWidth"), float))[:1] >= 1:
        ends = apply_voi_lut(np.array([-1e9, 1e9]), file)  # what it makes black and white
    else:
        ends = image if image.size else values
        file.pop("WindowWidth", None)
        file.pop("WindowCenter", None)
    grey = scaled(apply_voi_lut(values, file), ends.min(), ends.max())
    return 255 - grey if file.PhotometricInterpretation == "MONOCHROME1" else grey


def _colour(file: Any, stored: NDArray[Any]) -> NDArray[np.uint8]:
    """[height, width, 3]; pydicom has turned YBR into RGB."""
    import numpy as np
    from pydicom.pixels import apply_color_lut

    bits = file.BitsStored
    if file.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)[..., :3]
        bits = 8 * stored.itemsize
    return np.asarray(stored >> max(bits - 8, 0), np.uint8)
