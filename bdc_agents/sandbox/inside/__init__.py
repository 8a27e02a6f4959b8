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
remote      what stands for an object of the other process
peer        calls from the script to the program
reports     what either says about how it went
values      Python values as plain data
wire        what goes in from the caller and out to it
work        the folder that a program may write to
"""
