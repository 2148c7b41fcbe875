"""Classifiers as files: bundles, weights, and the runtimes behind them.

Reading order::

    bundle              a classifier as a folder with its card
    describe            card of a stranger's weights file
    checkpoint          PyTorch weights, read without unpickling
    weights             registry of weights: licence, hash, place
    inventory           table of all weights and their state
    pull                downloads, resumable and checked
    devices             ONNX Runtime execution providers by short names
    onnx_external_data  ONNX networks whose weights lie in a second file
    torch_runtime       PyTorch set up for inference
    keras_process       a Keras network in a process of its own
    keras_worker        that process
    networks/           architectures
    conversion/         conversion of published detector weights
"""
