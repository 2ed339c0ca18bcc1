"""The model card that lies beside the miniature weights, written from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = """# The miniature models

Real models, small enough for the repository, in exactly the folder layouts and classes of the full-size ones.
They know twelve categories of drawn objects, ten colors, three patterns and counts up to five, and nothing else:
they let every line of the pipeline run on any machine, and say nothing about images.

| folder | class | parameters |
|---|---|---|
| `stable-diffusion/` | `StableDiffusionPipeline` (64 px, v-prediction, DDIM) | UNet {unet:,}, VAE {autoencoder:,} |
| `clip/` | `CLIPModel` (64 px, 128 dimensions); its text tower is Stable Diffusion's | {clip:,} |
| `detector/` | `RTDetrForObjectDetection` (128 px, a `ResNetConfig` backbone) | {detector:,} |
| `bert/` | configuration and WordPiece vocabulary only; the trainer starts it from scratch | |
| `judge.safetensors` | an attribute reader used for measuring alone (`models/attribute_classifier.py`) | {judge:,} |

Trained by `make miniature-models` on captioned images of the miniature world, of all combinations. The autoencoder,
CLIP, the judge and the first 4,300 steps of the UNet and 2,550 of the detector learnt while the world still drew half
of its objects mirrored and nearer to each other. CLIP's vision tower went on for 900 steps with pairs of views of one
object, so that like objects are near each other whatever surrounds them (`sharpen_vision`; 20,000 of the captioned
images, and the tower as it was stored): the nearest crop is right more often (`make benchmark NAME=priors`), the
caption among 1,000 less often (83.1 % before). All weights are stored in half precision, {megabytes:.1f} MB together.
Licence: Apache-2.0, as the rest of the project.

## Measured

Attributes are read by the judge, which shares nothing with the CLIP that scores priors (it reads {judge_on_world:.1%}
of the world's own held-out objects right). Objects are counted by connected components, without a learned model. The
detector is asked as `augmentation.detection.detector` asks it: what it would be sure of counts. Drawn with {sampler}.

| what | measured |
|---|---|
| autoencoder, PSNR on held-out images | {autoencoder_psnr_db} dB |
| CLIP, right caption among those of 1,000 held-out images | {clip_caption_retrieval:.1%} |
| {select_single_objects} single-object prompts: category, color and pattern all right | {read_right:.1%} |
| - category | {category_right:.1%} |
| - color | {colour_right:.1%} |
| - pattern | {pattern_right:.1%} |
| "three cups" shows exactly three objects | {three_cups_exactly_three:.1%} |
| "two ...", all categories: exactly two | {exactly_2_counted:.1%} |
| "three ..." | {exactly_3_counted:.1%} |
| "four ..." | {exactly_4_counted:.1%} |
| "five ..." | {exactly_5_counted:.1%} |
| detector, AP50 on held-out world scenes | {detector_ap50_world:.3f} |
| detector finds exactly the one object asked for in single-object drawings | {detector_finds_single_object:.1%} |
| detector's count equals the count by components on drawings of three | {detector_agrees_on_3:.1%} |

All figures, with the number of training steps: `measured.json`.
"""


def write_card(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write ``README.md`` into the weights' folder."""
    text = CARD.format(**figures, **figures["count_parameters"], megabytes=figures["size_bytes"] / 1e6)
    (folder / "README.md").write_text(text)
