"""The code of the sandboxed processes: uses the standard library only, nothing else of this package.

launch       the zygote: isolates itself, imports, and forks a supervisor for each job
isolation    what its processes give up, and what they see of the machine
supervise    the processes of a test, held to their limits
processes    their start, the program's before its checker's, and the end of all that they started
usage        the CPU time and memory that they have used
run_program  the process of a hostile program
run_script   the checker: the process of a test script, apart from the program
script       the script as it is run: its names, its tests, and what it asserts
calls        calls between the script and the program
reports      what either says about how it went
values       plain values as JSON data
wire         what goes in from the caller and out to it
"""
