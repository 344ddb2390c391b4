"""Learning curves of a run, as a picture beside its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeenhance.arrays import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRAIN, _VALID, _BEAM = "#9ecae1", "#2166ac", "0.4"
_PANELS = {"loss": "loss", "estoi": "ESTOI", "pesq": "PESQ (WB)"}


def plot_curves(records: list[dict[str, Any]]) -> Figure:
    """Loss, ESTOI and PESQ against the step; the beam's own as a dashed line.

    records : of log.jsonl. Returns a matplotlib Figure; EdgeEnhanceError names the extra to install.
    """
    figure = new_figure(12, 3.8)
    for axes, (name, title) in zip(figure.subplots(1, 3), _PANELS.items(), strict=True):
        if name == "loss":
            _draw(axes, records, "train", name, color=_TRAIN, label="training")
        _draw(axes, records, "valid", name, color=_VALID, marker="o", markersize=3, label="validation")
        _draw(axes, records, "valid", f"beam_{name}", color=_BEAM, linestyle="--", label="beam alone")
        axes.set(xlabel="step", title=title)
        axes.grid(color="0.9")
        axes.legend(frameon=False)
    return figure


def _draw(axes: Axes, records: list[dict[str, Any]], event: str, name: str, **style: Any) -> None:
    """One curve; records without the value leave no gap."""
    points = [(r["step"], r[name]) for r in records if r["event"] == event and r.get(name) is not None]
    axes.plot([step for step, _ in points], [value for _, value in points], **style)
