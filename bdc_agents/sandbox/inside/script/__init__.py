"""A test script as it is run.

tests     runs it, and the tests that it only defines
asserted  what it asserts is counted: one that asserts nothing would pass any program
names     what its names stand for: the program's things, mostly
"""
