"""What crosses a border between processes: for each message one frozen class, which `codec` reads strictly and writes.

spec          daemon → agent → supervisor → trainer: what an attempt is told (spec.json), and what a check is
instructions  daemon → agent, and the answers; telling: what all of them have in common
boxes         of these, what only a box that has joined is told
events        supervisor → agent → daemon: what happens to attempts, nodes and the head
records       what supervisors and agents write beside an attempt: record.json, exit.json, stop.json, wishes.json
launcher      agent → launcher, and the answers
training      trainer ↔ supervisor
settings      daemon → head and agent
head          daemon ↔ head: the lines that carry the above
reading       the probe of NVML → agent
"""
