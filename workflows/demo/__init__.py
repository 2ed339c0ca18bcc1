"""The whole job on the miniature world in minutes: data, two networks, one page."""
