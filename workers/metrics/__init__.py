"""What Prometheus reads of a role, and whether it is alive and ready: a port of a process of its own beside each role.

The role counts into files of its folder (`counting`), which outlive the children that wrote them; the process beside it
(`beside`) reads those files, tells what the database says (`state`) and answers (`port`). So neither a role that is
busy nor a server that hangs keeps the port from answering, and whatever becomes of the port, the role goes on.
"""
