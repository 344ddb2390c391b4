"""What enhancement did to one scene, in pictures; with `%matplotlib inline` each `# %%` is a cell of a notebook.

python examples/pictures.py [RUN]      RUN : folder of edgeenhance train, for its curves
"""

# %% A scene, and what the chain makes of it
import json
import sys
from pathlib import Path

from edgeenhance import Enhancer
from edgeenhance.models.curves import plot_curves
from edgeenhance.simulation.pictures import ideal_ratio_mask, masks, save_picture, spectrograms, waveforms
from edgeenhance.simulation.scene import draw
from edgeenhance.simulation.shadow import shadow_filter
from edgeenhance.simulation.spectrum import compare_spectra

scene = draw(
    {
        "seed": 1,
        "duration_s": 4.0,
        "snr_db": 0.0,
        "array": {"name": "bte-2x2"},
        "talkers": [{"azimuth_deg": 0.0, "distance_m": 1.0}],
        "diffuse": {"kind": "babble"},
    }
)
sound, ear = scene.render(), scene.reference
enhancer = Enhancer(scene.array, block=64)
done = shadow_filter(enhancer, sound.mix, ())  # enhances, and keeps the gains
signals = {"clean": sound.early, "noisy": sound.mix[:, ear], "enhanced": done.y}
figures = {}

# %% Signals over time
figures["waveforms"] = waveforms(signals, 16000)
figures["waveforms"]

# %% ... over time and frequency
figures["spectrograms"] = spectrograms(signals, 16000)
figures["spectrograms"]

# %% ... and over frequency
figures["spectra"] = compare_spectra(signals)
figures["spectra"]

# %% The network's mask, beside one without errors
ideal = ideal_ratio_mask(sound.reverberant[:, ear], sound.noise[:, ear], enhancer.profile)
figures["masks"] = masks({"ideal": ideal, "assist-m": done.gains}, enhancer.profile)
figures["masks"]

# %% The curves of a training
for run in map(Path, sys.argv[1:]):
    if (run / "log.jsonl").is_file():
        figures["curves"] = plot_curves([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()])

# %% All of them as files
for name, figure in figures.items():
    print(save_picture(figure, Path(f"{name}.webp")))
