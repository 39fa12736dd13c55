"""What runs on the other side of the wall: standard library only, never imports the rest of the project.

Launcher -> zygote (pandas preloaded) -> per episode a supervisor, which owns the control socket, and an
interpreter, which runs model code and has pipes only. The host loads :mod:`frames` from here and starts the rest
as programs; inside, the folder is the top-level package ``inside``.
"""
