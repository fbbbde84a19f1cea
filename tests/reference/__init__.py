"""What the tests hold gpujobs against: the equations themselves, in numpy."""
