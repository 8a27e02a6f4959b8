"""The code of the sandboxed processes: uses the standard library only, nothing else of this package.

launch      the zygote: isolates itself, imports, and forks a supervisor for each job
isolation   what its processes give up, and what they see of the machine
supervise   the processes of a test, held to their limits
start       these processes, the program's before its checker's
ending      the end of everything that they started
usage       the CPU time and memory that they have used
run_test    the hostile program
checker     a test script, in a process of its own
script      the script as it is run: what it asserts is counted, tests that it only defines are called
calls       calls between the script and the program
note        what a checker reports, passed on unread
reports     what either says about how it went
values      plain values as JSON data
wire        what goes in from the caller and out to it
work        the folder that a program may write to
"""
