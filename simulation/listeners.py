"""Who else listens: speech recognizers and talker models, and what noise and enhancement do to them.

    transcriber("pocketsphinx")   -> transcribe(x, sample_rate) -> str        words
    embedder("resemblyzer")       -> embed(x, sample_rate) -> (d,) float      a talker's voice, as a vector
    word_error_rate · talker_similarity                                       how far two of them are apart

Names are "pocketsphinx" (offline, English), "resemblyzer" (offline), "huggingface:MODEL" (a folder, or a name on the
hub: Whisper, wav2vec2, HuBERT and the like for words; WavLM and the like with an x-vector head for voices), or
"module:function" for a callable of one's own. x is (n,) float within ±1. The extra `impact` brings the first two.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..errors import EdgeEnhanceError
from .metrics import SAMPLE_RATE, _undefined

Transcribe = Callable[[np.ndarray, int], str]
Embed = Callable[[np.ndarray, int], np.ndarray]
_PEAK = 0.5  # recognizers hear the level: everybody gets the same


@lru_cache(maxsize=4)
def transcriber(name: str) -> Transcribe:
    """A recognizer by name, loaded once per process. EdgeEnhanceError where its package or model is missing."""
    if name == "pocketsphinx":
        return _pocketsphinx()
    if name.startswith("huggingface:"):
        return _huggingface_words(name.removeprefix("huggingface:"))
    return _own(name, "transcribe", "pocketsphinx")


@lru_cache(maxsize=4)
def embedder(name: str) -> Embed:
    """A talker model by name, loaded once per process. EdgeEnhanceError where its package or model is missing."""
    if name == "resemblyzer":
        return _resemblyzer()
    if name.startswith("huggingface:"):
        return _huggingface_voice(name.removeprefix("huggingface:"))
    return _own(name, "embed", "resemblyzer")


def word_error_rate(wanted: str, heard: str) -> float:
    """Substituted, deleted and inserted words over words said: 0 and up, beyond 1 too; lower is better.

    Case and punctuation do not count. NaN where nothing was said.
    Source: the usual Levenshtein alignment of words, by the package `jiwer`.
    """
    import jiwer

    wanted, heard = _words(wanted), _words(heard)
    if not wanted:
        return _undefined("word error rate", "no word was said, or none was recognized in the clean recording")
    return float(jiwer.wer(wanted, heard)) if heard else 1.0


def talker_similarity(wanted: np.ndarray, heard: np.ndarray) -> float:
    """Cosine between two embeddings (d,): -1 .. 1, 1 is the same voice; higher is better."""
    wanted, heard = (np.asarray(x, float) for x in (wanted, heard))
    if wanted.ndim != 1 or wanted.shape != heard.shape:
        raise ValueError(f"embeddings must be two vectors of one length, got {wanted.shape} and {heard.shape}")
    scale = np.linalg.norm(wanted) * np.linalg.norm(heard)
    return float(wanted @ heard / scale) if scale else _undefined("talker similarity", "an embedding is zero")


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def _loud(x: np.ndarray) -> np.ndarray:
    return (x * (_PEAK / max(float(np.abs(x).max(initial=0.0)), 1e-9))).astype(np.float32)


def _pocketsphinx() -> Transcribe:
    pocketsphinx = _package("pocketsphinx")
    decoder = pocketsphinx.Decoder(
        hmm=pocketsphinx.get_model_path("en-us/en-us"),
        lm=pocketsphinx.get_model_path("en-us/en-us.lm.bin"),
        dict=pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"),
        loglevel="FATAL",
    )

    def transcribe(x: np.ndarray, sample_rate: int) -> str:
        _check_rate(sample_rate)
        if not x.any():
            return ""
        decoder.reinit_feat()  # the mean of what it heard before would make results depend on the order
        decoder.start_utt()
        decoder.process_raw((_loud(x) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return found.hypstr if found else ""

    return transcribe


def _resemblyzer() -> Embed:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # webrtcvad on pkg_resources, which is pinned for it
        encoder = _package("resemblyzer").VoiceEncoder("cpu", verbose=False)

    def embed(x: np.ndarray, sample_rate: int) -> np.ndarray:
        _check_rate(sample_rate)
        return encoder.embed_utterance(_loud(x))

    return embed


def _huggingface_words(model: str) -> Transcribe:
    transformers = _package("transformers")
    pipeline = _loaded(model, lambda: transformers.pipeline("automatic-speech-recognition", model=model))
    return lambda x, sample_rate: pipeline({"raw": _loud(x), "sampling_rate": sample_rate})["text"]


def _huggingface_voice(model: str) -> Embed:
    transformers, torch = _package("transformers"), _package("torch")
    extractor = _loaded(model, lambda: transformers.AutoFeatureExtractor.from_pretrained(model))
    network = _loaded(model, lambda: transformers.AutoModelForAudioXVector.from_pretrained(model).eval())

    def embed(x: np.ndarray, sample_rate: int) -> np.ndarray:
        inputs = extractor(_loud(x), sampling_rate=sample_rate, return_tensors="pt")
        with torch.no_grad():
            return network(**inputs).embeddings[0].numpy()

    return embed


def _loaded(model: str, load: Callable) -> Callable:
    try:
        return load()
    except (OSError, ValueError, KeyError) as error:
        raise EdgeEnhanceError(f"cannot load the Hugging Face model {model!r}: {error}") from error


def _own(name: str, what: str, default: str) -> Callable:
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"{what} is {default!r}, 'huggingface:MODEL' or 'module:function', got {name!r}")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise EdgeEnhanceError(f"{what} = {name!r}: {error}") from error


def _package(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        extra = "pip install transformers" if name == "transformers" else "pip install 'edgeenhance[impact]'"
        raise EdgeEnhanceError(f"{name} is not installed: {extra}") from error


def _check_rate(sample_rate: int) -> None:
    if sample_rate != SAMPLE_RATE:
        raise ValueError(f"it takes {SAMPLE_RATE} Hz, got {sample_rate} Hz; resample first")
