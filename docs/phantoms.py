"""Draw docs/phantoms.jpg, the README's picture: python docs/phantoms.py"""

import io
from pathlib import Path

from PIL import Image

from builder.ingest.phantoms.radiology import draw_radiology
from builder.ingest.phantoms.skin import draw_skin

SIDE, GAP, SEED = 220, 6, 42
ROWS = [[draw_radiology(SEED, n) for n in (1, 3, 5, 7)], [draw_skin(SEED, n) for n in (2, 3, 4, 5)]]

sheet = Image.new("RGB", (4 * (SIDE + GAP) - GAP, 2 * (SIDE + GAP) - GAP), "white")
for y, row in enumerate(ROWS):
    for x, phantom in enumerate(row):
        picture = Image.open(io.BytesIO(phantom.png)).convert("RGB").resize((SIDE, SIDE))
        sheet.paste(picture, (x * (SIDE + GAP), y * (SIDE + GAP)))
sheet.save(Path(__file__).with_name("phantoms.jpg"), quality=88)
