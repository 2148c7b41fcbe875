"""Cameras and network streams: newest frames with arrival times, reconnected when lost.

Reading order::

    config        options of cameras and streams
    open          device numbers and addresses to a source
    camera        cameras of this machine
    network       RTSP, HTTP and UDP streams
    reconnect     connect, read, lose, wait, connect again
    connection    one connection, frame by frame
    packets       packets of a live stream, buffered and bounded
    http_body     an HTTP response as a file for FFmpeg
    udp_body      UDP datagrams as a file for FFmpeg
    cancellation  blocked reads ended from another thread
    clock         arrival and due times of live frames
    fit           frames of any size fitted to the first one's
    status        state of a live source
    credentials   credentials in addresses, masked
    error_text    connection errors in words
"""
