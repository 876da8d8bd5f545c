"""Pretrained networks for pictures as small as they can be: random weights, Hugging Face's files, no hub."""

from __future__ import annotations

import json
from pathlib import Path


def make_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A DINOv2 with patches of 14 pixels and 16 numbers each."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    _say_how(folder, {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    return folder


def make_detector(folder: Path, kind: str = "d_fine") -> Path:
    """A D-FINE or an RT-DETRv2 that knows 80 classes, as those of the hub do."""
    import torch
    from transformers import (
        DFineConfig,
        DFineForObjectDetection,
        HGNetV2Config,
        RTDetrResNetConfig,
        RTDetrV2Config,
        RTDetrV2ForObjectDetection,
    )

    torch.manual_seed(0)
    shape = {
        "encoder_in_channels": [16, 32, 64],
        "encoder_hidden_dim": 16,
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 2,
        "d_model": 16,
        "decoder_in_channels": [16, 16, 16],
        "decoder_ffn_dim": 16,
        "decoder_attention_heads": 2,
        "decoder_layers": 2,
        "num_queries": 12,
        "num_denoising": 4,
        "num_labels": 80,
        "use_pretrained_backbone": False,
    }
    if kind == "d_fine":
        backbone = HGNetV2Config(
            stem_channels=[3, 4, 8],
            stage_in_channels=[8, 8, 16, 32],
            stage_mid_channels=[4, 4, 8, 8],
            stage_out_channels=[8, 16, 32, 64],
            hidden_sizes=[8, 16, 32, 64],
            depths=[1, 1, 1, 1],
            stage_num_blocks=[1, 1, 1, 1],
            stage_numb_of_layers=[1, 1, 1, 1],
            return_idx=[1, 2, 3],
            out_features=["stage2", "stage3", "stage4"],
        )
        DFineForObjectDetection(
            DFineConfig(backbone_config=backbone, decoder_n_points=[2, 2, 2], **shape)
        ).save_pretrained(folder)
    else:
        backbone = RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 32, 64],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, **shape)).save_pretrained(folder)
    _say_how(folder, {"do_normalize": False, "size": {"height": 64, "width": 64}})
    return folder


def _say_how(folder: Path, said: dict[str, object]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_rescale": True, **said}))
