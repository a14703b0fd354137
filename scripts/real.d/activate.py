"""activate.py PORT_FILE COMMAND...: runs COMMAND with a loopback socket already listening as descriptor 3.

For servers that take their socket the systemd way (LISTEN_FDS) but otherwise listen on every interface and on a
port that must be named beforehand. The kernel picks the port; it is written to PORT_FILE.
"""

import os
import socket
import sys

port_file, command = sys.argv[1], sys.argv[2:]
listener = socket.create_server(("127.0.0.1", 0))
with open(port_file, "w") as file:
    print(listener.getsockname()[1], file=file)
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)  # dup2 leaves this out when the socket already was descriptor 3
os.execvpe(command[0], command, os.environ | {"LISTEN_FDS": "1"})
