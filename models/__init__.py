"""Mask networks: from recordings and impulse responses to a model file. Needs the extra `train`.

    recipe      what to train, on which data              network     the networks, one hop as a graph
    corpus      recordings, decoded and split by talker   losses      what training minimises; waveform_losses
    bank        impulse responses and their beams         train       steps, checkpoints, resuming; optimize, curves
    data        mixtures, item by item                    validate    scores on unheard talkers
    adaptive    MVDR along an item                        graph       calibration; tflite_writer, quantize: the file
    features    what the device computes, in torch        zoo/        finished models with recipes and cards

Nothing is imported here: finding the zoo on a device must not need torch.
"""
