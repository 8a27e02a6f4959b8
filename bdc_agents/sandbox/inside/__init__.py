"""What runs in the sandboxed processes: standard library only, nothing of the rest of this package.

launch      the zygote: isolates itself, imports, and forks a supervisor for each job
namespaces  mounts, processes, network, IPC and host name of its own
landlock    which files may be used
syscalls    the system calls that a sandbox may make
seccomp     filters of these, with the arguments that are allowed
kernel      the system calls behind these, through ctypes
start       the processes of each test, the program's before its checker's
supervise   the same, held to their limits
ending      the end of everything that they started
note        what a checker reports, passed on unread
usage       the CPU time and memory that they have used
confine     what these processes give up first
run_test    the hostile program
checker     a test script, in a process of its own
script      the script as it is run: what it asserts is counted, tests that it only defines are called
peer        calls between the script and the program
channel     the messages that carry them
crossing    what a value is sent as, and what is made of that
values      plain values as JSON data
library     values of the standard library as such data
common      lists and the like that both processes have: a change in one is made in the other
raised      exceptions on their way
remote      what stands for objects and classes of the other process
operators   what their operators do, where a plain value of the script could be betrayed
kinds       classes: described in one process, made in the other
granted     what a program may do to what its script passed to it
served      what a program's process does for its script
surroundings  prints, input and random numbers, as a script changes them
reports     what either says about how it went
wire        what goes in from the caller and out to it
work        the folder that a program may write to
"""
