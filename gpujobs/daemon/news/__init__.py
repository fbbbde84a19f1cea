"""News of jobs: what is told to whom, an outbox that outlives the daemon, and its emptying. The daemon itself opens no
address, no URL and no program that a user has named: `gpujobs.supervise.delivery` does, with that user's rights."""
