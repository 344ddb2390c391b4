"""Two hearing aids in a noisy room: what they hear, what comes out, and by how much that is better."""

from edgeenhance import enhance
from edgeenhance.simulation.metrics import scores
from edgeenhance.simulation.scene import draw

scene = draw(
    {
        "seed": 1,
        "duration_s": 4.0,
        "snr_db": 0.0,
        "array": {"name": "bte-2x2"},  # two aids, two microphones each
        "talkers": [{"azimuth_deg": 0.0, "distance_m": 1.0}],  # somebody in front
        "diffuse": {"kind": "babble"},  # voices from everywhere
    }
)
sound = scene.render()  # sound.mix : (samples, microphones) at 16 kHz

clean = enhance(sound.mix, 16000, "bte-2x2")

for name, signal in {"microphone": sound.mix[:, scene.reference], "enhanced": clean}.items():
    quality, _ = scores(sound.early, signal)  # against the talker alone
    print(f"{name:10}  PESQ {quality['pesq']:.2f}  STOI {quality['stoi']:.3f}")
