"""A scene of one's own, drawn three times: how much a beam helps, and the network."""

from pathlib import Path

from edgeenhance import enhance
from edgeenhance.simulation.metrics import stoi
from edgeenhance.simulation.scene import Scene

FILE = Path(__file__).with_name("own_scene.toml")
SYSTEMS = {
    "superdirective beam": {"beamformer": "superdirective", "model": "none"},
    "adaptive beam": {"model": "none"},
    "adaptive beam, assist-m": {"model": "assist-m"},
}

for seed in range(3):
    scene = Scene.load(FILE, seed)
    sound = scene.render()
    before = stoi(sound.early, sound.mix[:, scene.reference])
    print(f"scene {seed}: talker at {scene.look_deg:.0f}°, {scene.snr_db:.1f} dB SNR, STOI {before:.3f}")
    for name, settings in SYSTEMS.items():
        after = stoi(sound.early, enhance(sound.mix, 16000, scene.array, look=scene.look_deg, **settings))
        print(f"    {name:24} {after - before:+.3f}")
