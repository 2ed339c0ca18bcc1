"""Stage that joins planned annotations with their images."""

from __future__ import annotations

from pipeline import Item, Location, MapStage, Rejected, Resources
from shards.images import ImageError, get_fast_path, read_image
from shards.schema import Sample
from shards.sources.sample import SourceSample


class LoadImageStage(MapStage[Item, Sample]):
    """Stage that reads the image of a planned ``SourceSample`` and gives a ``Sample``.

    Args:
        images: folder of the images, or a prefix of an object store.
    """

    resources = Resources(num_cpus=1)
    batch_size = 16

    def __init__(self, images: Location) -> None:
        self._images = get_fast_path(images)

    def process_item(self, item: Item) -> Sample | Rejected:
        source = SourceSample.from_payload(item.payload)
        try:
            content, size = read_image(self._images / source.image_name)
        except ImageError as problem:
            return Rejected(key=item.key, reason=problem.rule, detail=str(problem))
        if size != source.size:
            return Rejected(key=item.key, reason="other_size", detail=f"planned {source.size}, now {size}")
        return Sample(
            key=item.key,
            width=size[0],
            height=size[1],
            image_name=source.image_name,
            image=content,
            instances=source.instances,
            has_all_instances=source.has_all_instances,
            queries=source.queries,
        )
