"""EdgeEnhance: microphone array in, clean speech out, frame by frame, a few milliseconds later."""
