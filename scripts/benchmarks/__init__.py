"""What `scripts/bench` measures: every module right in this package is one measurement.

It either has `measure(options: Options) -> list[Row]`, or it is a plain script, which `scripts/bench` runs and
whose output it shows. The first line of its docstring is what `scripts/bench --list` says of it. What the
measurements share is in `support`, the ways to run a batch of jobs are in `contenders`.
"""
