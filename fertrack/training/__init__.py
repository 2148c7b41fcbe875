"""Training of the compact classifier: images and votes in, a classifier bundle out. Needs PyTorch.

Reading order::

    config             the training run's TOML file
    recipe             stages of one file
    command            ``fertrack models train``
    labelled_images    labelled image sets
    landmark_cache     landmarks kept beside the runs
    images             training images with soft targets
    mixture            several sources at once
    composites         faces put together from several images
    augment            augmentation that imitates video
    views              crop and landmarks as network input
    networks           networks to be trained
    from_bundle        a bundle as starting point
    teachers           soft targets from other classifiers
    schedule           learning rate and draws by step
    loop               the training loop
    checkpoint         state on disk
    curves             training curves as figures
    calibrate_logits   logits calibrated at the end
    finish             averaged weights as a bundle
"""
