"""remove_bridge.py NAME: what `ip link delete NAME` does to a bridge, where there is no iproute2."""

import fcntl
import socket
import struct
import sys

SIOCSIFFLAGS = 0x8914
SIOCBRDELBR = 0x89A1

name = sys.argv[1].encode()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", name, 0))  # one that is up is not removed
    fcntl.ioctl(any_socket, SIOCBRDELBR, struct.pack("16s", name))
