"""The networks of the textbooks, side by side: docs/networks-textbook.md has the table.

    FAMILIES        name in a recipe's [network] -> class
    load            a trained one, of a run folder's best.pt or checkpoint.pt

One microphone in, one signal out; `forward` is what trains (see base.TextbookModel), `enhance` takes a whole recording,
`stream` those that are causal block by block.
"""

from __future__ import annotations

import os

from .attention import AttentionMask
from .base import TextbookModel
from .cnn import Cnn0, Cnn1
from .conv_tasnet import ConvTasNet, ConvTasNetCausal
from .crnn import Crnn
from .dnn import Dnn0, Dnn1
from .gru import one_microphone
from .lstm import BlstmMask, LstmMask
from .unet import UnetCausal, UnetIrm, UnetMel

FAMILIES: dict[str, type[TextbookModel]] = {
    "dnn_0": Dnn0,
    "dnn_1": Dnn1,
    "cnn_0": Cnn0,
    "cnn_1": Cnn1,
    "unet_mel": UnetMel,
    "unet_irm": UnetIrm,
    "unet_causal": UnetCausal,
    "blstm_mask": BlstmMask,
    "lstm_mask": LstmMask,
    "crnn": Crnn,
    "conv_tasnet": ConvTasNet,
    "conv_tasnet_causal": ConvTasNetCausal,
    "attention_mask": AttentionMask,
}


def load(checkpoint: str | os.PathLike[str]) -> TextbookModel:
    """The trained network of a checkpoint, ready to run on one microphone; EdgeEnhanceError where it is none."""
    from ..train import load_checkpoint, network_from_checkpoint

    state = load_checkpoint(checkpoint)
    return one_microphone(network_from_checkpoint(state), state["recipe"]["profile"])
