"""Streams served on this machine, to measure and test network sources.

Reading order::

    clip    a clip encoded once, to be sent again and again
    show    the frame that senders send now, and the accidents on the way
    server  a loopback server that ends with its show
    mjpeg   MJPEG over HTTP
    rtsp    H.264 over RTSP
    udp     MPEG-TS over UDP
    sender  command that serves a clip in a process of its own
"""
