"""Parts of the command that generates scenes."""
