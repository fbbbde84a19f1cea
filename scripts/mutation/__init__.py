"""Small faults, planted one at a time: does a test notice?

Own code where libraries exist: mutmut and cosmic-ray run one suite for every mutant, and want it quick. Here
a suite takes a quarter of an hour, its daemons, trainers and Ray start the package anew in processes of their
own, and a test that fails under load must not count. What is left of a library then are the operators, which
the standard library's `ast` makes short.
"""
