"""Write the model card of the miniature weights from their measured figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = """# The miniature models

These models are small enough for the repository. They have the folder layouts and classes of the full-size
ones, so you can run the whole pipeline on any machine. They know twelve categories of synthetic objects, ten
colors, three patterns and counts up to five. Do not use them for real images.

| folder | class | parameters |
|---|---|---|
| `stable-diffusion/` | `StableDiffusionPipeline` (64 px, v-prediction, DDIM) | UNet {unet:,}, VAE {autoencoder:,} |
| `clip/` | `CLIPModel` (64 px, 128 dimensions); its text tower is Stable Diffusion's | {clip:,} |
| `detector/` | `RTDetrForObjectDetection` (128 px, a `ResNetConfig` backbone) | {detector:,} |
| `backbone/` | backbone of the grounding network, pretrained on category, color and pattern | 227,168 |
| [`grounder/`](grounder/README.md) | `GroundingNetwork`, the grounding network | 1,783,911 |
| `bert/` | configuration and WordPiece vocabulary only; the trainer initializes the weights at random | |
| `attribute_classifier.safetensors` | `AttributeClassifier`, for measurements only | {attribute_classifier:,} |

All weights are stored in half precision, {megabytes:.1f} MB together.

## Training

```
make miniature-models
```

This command trains the models on captioned images of the miniature world, of all combinations, in hours.

- **Earlier world.** The autoencoder, CLIP, the attribute classifier, 4,300 steps of the UNet and 2,550 of the
  detector were trained on an earlier version of the world. It mirrored half of its objects and placed them
  nearer to each other.
- **Vision tower.** CLIP's vision tower was trained for 900 more steps on pairs of views of one object
  (`sharpen_vision`, 20,000 captioned images). Similar objects now have similar features in any surroundings.
  The nearest crop is correct more often (`make benchmark NAME=priors`). Caption retrieval among 1,000 fell from
  83.1 %.

## Figures

The attribute classifier is independent of the CLIP of the prior scores; it is correct for {classifier_on_world:.1%}
of the world's held-out objects. Objects are counted by connected components, without a learned model. The
detector counts its confident detections (`augmentation.detection.detector`). Images are rendered with
{sampler}. You find all figures and the numbers of training steps in `measured.json`.

| figure | value |
|---|---|
| autoencoder, PSNR on held-out images | {autoencoder_psnr_db} dB |
| CLIP, right caption among those of 1,000 held-out images | {clip_caption_retrieval:.1%} |
| {single_object_prompts} single-object prompts: category, color and pattern all right | {read_right:.1%} |
| - category | {category_right:.1%} |
| - color | {color_right:.1%} |
| - pattern | {pattern_right:.1%} |
| "three cups" shows exactly three objects | {three_cups_exactly_three:.1%} |
| "two ...", all categories: exactly two | {exactly_2_counted:.1%} |
| "three ..." | {exactly_3_counted:.1%} |
| "four ..." | {exactly_4_counted:.1%} |
| "five ..." | {exactly_5_counted:.1%} |
| detector, AP50 on held-out world scenes | {detector_ap50_world:.3f} |
| exactly the requested object detected in single-object images | {detector_finds_single_object:.1%} |
| detections equal the count by components in images of three | {detector_agrees_on_3:.1%} |

License: Apache-2.0.
"""


def write_card(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write ``README.md`` into the weights' folder."""
    text = CARD.format(**figures, **figures["num_parameters"], megabytes=figures["size_bytes"] / 1e6)
    (folder / "README.md").write_text(text)
