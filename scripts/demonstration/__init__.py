"""A box to look at: `scripts/demo`."""
