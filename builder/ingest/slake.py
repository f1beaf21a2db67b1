"""SLAKE's mirror on the Hub (Liu et al. 2021, CC BY 4.0), at a pinned revision."""

from pathlib import Path
from typing import Final

from builder.ingest import hub_source

HUB_ID: Final = "BoKelvin/SLAKE"
HUB_REVISION: Final = "a9083ce6c34ac3ffb17671a605962924d8a8f9e9"
HUB_FILES: Final = ("train.json", "validation.json", "test.json", "imgs.zip")


def download(fetch: bool = True) -> Path:
    """The mirror, about 210 MB; without `fetch` and with nothing fetched before, no folder."""
    return hub_source.download(HUB_ID, HUB_REVISION, HUB_FILES, fetch, "with --slake DIR")
