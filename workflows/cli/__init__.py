"""Console output, paths and launchers shared by the commands."""
