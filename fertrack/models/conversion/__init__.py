"""Conversion of published detector weights to ONNX.

Reading order::

    retinaface        checkpoint of RetinaFace MobileNet-0.25 to ONNX
    retinaface_onnx   its graph, built from arrays
    retinaface_torch  the same network in PyTorch
"""
