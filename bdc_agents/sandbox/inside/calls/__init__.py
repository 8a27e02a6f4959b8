"""Calls between a test script and the program that it tests, in two processes.

peer        one end of the connection: asks, and answers
channel     the messages that carry the calls
crossing    what a value is sent as, and what is made of that
library     values of the standard library as plain data
common      lists and the like that both processes have: a change in one is made in the other
raised      exceptions on their way
remote      what stands for objects and classes of the other process
operators   what their operators do, where a plain value of the script could be betrayed
kinds       classes: described in one process, made in the other
granted     what a program may do to what its script passed to it
served      what a program's process does for its script
surroundings  prints, input and random numbers, as a script changes them
"""
