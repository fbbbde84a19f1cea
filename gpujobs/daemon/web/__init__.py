"""The pages, on an address of this machine: `listener.serving` is the one entry. A port is open to every user of the
machine, so that a token, a cookie and what the kernel says of the other end guard each request (`guard.py`); from then
on it is a request like those on the socket, answered by the same handlers."""
