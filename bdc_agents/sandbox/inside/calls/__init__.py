"""Calls between a test script and the program that it tests, in two processes.

A script such as `assert Stack([1]).pop() == 1` names the program's things as if they were its own. It gets
stand-ins: what it does to one is asked of the other process, and the answer comes back.

    the script's process                           the program's process

    the script                                     the program
        |  uses                                        ^  is called by
    standins, classes, operators                   program_side: does whatever is asked
        |  ask(operation, operands)                    ^  operation, operands
    peer  ---------- an ask, then its answer ------->  peer
    codec: values to JSON data                     codec: JSON data to values
    channel  ======= a socket =====================  channel

A program that calls a function of the script asks back the same way, while its own answer waits. Then
`script_side` takes the place of `program_side`, and grants very little.

From the top:

peer          one end of the connection: asks, answers, and keeps the order of the two
codec         what each kind of value is sent as, and what is made of that
stdlib          values of the standard library, by their parts
exceptions      exceptions, on their way to either side
mirror          lists and the like that both processes have: a change in one is made in the other
channel       the messages on the socket
standins      what stands for an object or class of the other process
classes         makes these from a class's description, which it also writes
operators       what their operators do where a plain value of the script could be betrayed
program_side  what is done for a script: everything, since the program has nothing to guard
script_side   what is done for a program: little, and nothing that leads to the script
surroundings  prints, input and random numbers, as a script changes them for its program
"""
