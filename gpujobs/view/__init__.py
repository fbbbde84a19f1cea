"""What screens show, computed once and without I/O: terminal, pictures and pages draw the same values."""
