"""Export of classifiers to other formats, each compared with the original.

Reading order::

    export         the whole export: convert, compare, write
    requirements   packages that a format needs
    network        conversion between formats
    onnx           ONNX files: checked, exported, quantised
    onnx_to_torch  ONNX graph as a PyTorch module
    torchscript    TorchScript and TFLite
    tensorrt       TensorRT engines
    sample         face crops to compare on
    parity         differences between two classifiers' outputs
"""
