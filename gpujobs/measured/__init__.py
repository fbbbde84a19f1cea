"""What a job made of its device: sums over samples, figures of them, a line in words, and advice. No I/O, no clock."""
