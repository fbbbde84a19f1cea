"""What screens show, worked out once and drawn alike by terminal and browser. No I/O."""
