"""What this machine and this image can fine-tune without being asked to. Loads torch only where it may matter."""

from pathlib import Path

from jobkit.progress import say
from jobkit.transformer.backbones import are_supported, models_folder, text_models


def gpu_models() -> list[Path]:
    """The folders of all pretrained models of texts in the image, if the machine has a GPU; none otherwise, since
    without one each takes hours: name one as the backbone to do so all the same."""
    names = text_models()
    if not names or not are_supported():
        return []
    import torch

    if not torch.cuda.is_available():
        say("The image's pretrained models are left out: there is no GPU", models=", ".join(names))
        return []
    return [models_folder() / name for name in names]
