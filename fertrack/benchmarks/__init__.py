"""The laboratory: measures fertrack for its authors; nothing in the product imports it.

Reading order::

    throughput/          frames per second and memory of whole runs
    tracker_speed        time of one association step
    tracker_peer         the same for roboflow ``trackers``, in its own environment
    tracker_ablation     effect of each improvement of the tracker
    queries              time of each question to a large database
    live                 display rate, latency and reconnects of a live run
    live_page            its results as a page
    classifier_speed     time per face of a classifier
    robustness           accuracy on small, blurred, compressed, badly lit and occluded faces
    generalisation       accuracy on faces from other cameras, bundles by sets
    generalisation_sets  the sets it judges by
    generalisation_text  its words and tables
    passages             labels over time against annotated clips
    reid_distances       embedding distances within and between people
    training_ablation    effect of each part of the training
    export_parity        differences and speed of every export format
    publish_bundle       calibrates a classifier bundle and writes its reports
    calibration_by_set   one calibration on every set of faces
    bundle_reliability   reliability diagram of a bundle, for its card
    model_card           model card of a bundle
    fuzz/                broken input for every reader
    loopback/            streams served on this machine
"""
