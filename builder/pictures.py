"""The pictures of the sources, read as whoever puts pictures back by their hash reads them."""

from mllmu_med_pictures import (
    MAX_BYTES,
    MAX_PIXELS,
    PictureError,
    check_relative,
    clean_picture,
)

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PictureError", "check_relative", "clean_picture"]
