"""`gpujobs top`: the live view in a terminal. The only room that imports textual; the command imports it late."""
