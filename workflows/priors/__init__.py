"""Parts of the commands that make and join priors."""
