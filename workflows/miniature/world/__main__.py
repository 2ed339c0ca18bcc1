"""Draw the miniature dataset."""

from workflows.miniature.world.dataset import WorldConfig, write_dataset

if __name__ == "__main__":
    import tyro

    chosen = tyro.cli(WorldConfig, description=__doc__)
    print(f"{chosen.output}: queries {write_dataset(chosen)}")
