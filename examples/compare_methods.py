"""One microphone, the methods there are: classical suppressors and the network, at the same latency of 32 ms."""

from edgeenhance import enhance
from edgeenhance.classical import METHODS, suppress
from edgeenhance.simulation.metrics import scores
from edgeenhance.simulation.scene import draw

scene = draw(
    {
        "seed": 2,
        "duration_s": 4.0,
        "snr_db": 5.0,
        "array": {"name": "mono"},
        "talkers": [{"distance_m": 0.5}],
        "diffuse": {"kind": "pink"},
    }
)
sound = scene.render()
noisy = sound.mix[:, 0]
outputs = {"noisy": noisy, **{method: suppress(noisy, 16000, method) for method in METHODS}}
outputs["comm-m"] = enhance(noisy, 16000, profile="comm", model="comm-m")
for name, signal in outputs.items():
    quality, _ = scores(sound.early, signal)
    print(f"{name:22} PESQ {quality['pesq']:.2f}  STOI {quality['stoi']:.3f}")
