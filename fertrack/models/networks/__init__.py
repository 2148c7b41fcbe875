"""Network architectures that fertrack has code for. They need PyTorch.

Reading order::

    architectures           architecture and size of a weights file
    compact                 the network of the default classifier
    resnet50                ResNet-50 as a trunk
    feature_orthogonal      Feature_Orthogonal: three sub-features of a face
    quaternion              layers with quaternion weights
    quaternion_transformer  Q-ViT on quaternion features
    landmark_attention      LA-QViT, with crops around eyes and mouth
    lazy_init               networks laid out before memory is allocated
"""
