"""Results as pictures. Only the files here import matplotlib, and only what draws imports them."""
