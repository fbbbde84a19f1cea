"""Those who look at the box as it changes: one picture for each tick, for all who see the same."""
