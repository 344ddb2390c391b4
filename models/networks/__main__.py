"""python -m edgeenhance.models.networks: the table of docs/networks-textbook.md, measured on the default sizes."""

from __future__ import annotations

from edgeenhance._text import markdown

from ..network import parameter_count
from . import FAMILIES
from .cost import macs_per_second


def rows() -> list[tuple[str, ...]]:
    out = []
    for name, family in FAMILIES.items():
        network = family()
        latency = f"{1000 * network.stream().latency / network.profile.sample_rate:.0f} ms" if network.causal else "–"
        causal = "yes" if network.causal else "no"
        tflite = "16x8" if hasattr(network, "emit") else "–"
        parameters, million = parameter_count(network), macs_per_second(network) / 1e6
        out.append((f"`{name}`", f"{parameters / 1e3:.0f} k", f"{million:.0f} M", causal, latency, tflite))
    return out


if __name__ == "__main__":
    print(markdown(("family", "parameters", "MAC/s", "causal", "latency", "TFLite"), rows()))
