"""What a process gives up before hostile code runs in it, and what it sees of the machine.

namespaces  mounts, processes, network, IPC and host name of its own
landlock    which files may be used
syscalls    the system calls that a sandbox may make
seccomp     filters of these, with the arguments that are allowed
confine     what a process gives up, in order
kernel      the system calls behind these, through ctypes
"""
