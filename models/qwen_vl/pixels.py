"""A picture as the numbers that Qwen-VL's vision tower takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

# Of the pictures that OpenAI's CLIP was trained with; red, green, blue.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(image: "Image", size: int) -> "Tensor":
    """An RGB picture as the model takes it, float32 (3, size, size); the sides' ratio is not kept."""
    import numpy as np
    import torch
    from PIL import Image

    resized = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
    values = torch.from_numpy(resized.copy()).permute(2, 0, 1).float().div(255)
    return values.sub(torch.tensor(MEAN)[:, None, None]).div(torch.tensor(STD)[:, None, None])
