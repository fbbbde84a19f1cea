"""Replays a trace of submissions through the policy in virtual time; see docs/simulate.md."""
