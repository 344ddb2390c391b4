"""Recognizers and talker models: by name, offline, and what is made of what they say."""

import numpy as np
import pytest

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation.listeners import embedder, talker_similarity, transcriber, word_error_rate
from edgeenhance.simulation.metrics import MetricWarning
from edgeenhance.simulation.synth import speech


@pytest.mark.parametrize(
    "wanted, heard, rate",
    [
        ("the cat sat", "the cat sat", 0),
        ("The cat, sat!", "the cat sat", 0),
        ("the cat sat", "the hat sat", 1 / 3),
        ("the cat sat", "sat", 2 / 3),
        ("the cat", "the big old cat", 1),
        ("the cat", "", 1),
    ],
)
def test_word_error_rates_count_words(wanted, heard, rate):
    pytest.importorskip("jiwer")
    assert word_error_rate(wanted, heard) == pytest.approx(rate)


def test_without_words_there_is_no_error_rate():
    pytest.importorskip("jiwer")
    with pytest.warns(MetricWarning, match="no word"):
        assert np.isnan(word_error_rate("...", "the cat"))


def test_similarity_is_a_cosine():
    assert talker_similarity([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1)
    assert talker_similarity([1.0, 0.0], [0.0, 2.0]) == pytest.approx(0)
    with pytest.raises(ValueError, match="one length"):
        talker_similarity([1.0], [1.0, 2.0])


def test_pocketsphinx_hears_words_whatever_it_heard_before_and_how_loud():
    pytest.importorskip("pocketsphinx")
    transcribe = transcriber("pocketsphinx")
    x, other = speech(2.0, 4), speech(2.0, 5)
    first = transcribe(x, 16000)
    transcribe(other, 16000)
    assert first.split() and transcribe(0.1 * x, 16000) == first
    assert transcribe(np.zeros(8000), 16000) == ""
    with pytest.raises(ValueError, match="resample"):
        transcribe(x, 8000)


def test_resemblyzer_knows_a_voice_again():
    pytest.importorskip("resemblyzer")
    embed = embedder("resemblyzer")
    a, b = speech(8.0, 4, espeak=False), speech(8.0, 9, espeak=False)
    one, again, other = embed(a[:64000], 16000), embed(a[64000:], 16000), embed(b[:64000], 16000)
    assert one.shape == (256,) and talker_similarity(one, again) > talker_similarity(one, other)


def test_hugging_face_models_listen_too(tmp_path):
    """A tiny wav2vec2 with random weights: what it says means nothing, that it says it is the test."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    torch.manual_seed(1)
    size = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
        "conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 8), "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4}')
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor()
    for kind, folder in ((transformers.Wav2Vec2ForCTC, "words"), (transformers.Wav2Vec2ForXVector, "voice")):
        more = (
            {"vocab_size": 5} if folder == "words" else {"tdnn_dim": (8,), "tdnn_kernel": (1,), "tdnn_dilation": (1,)}
        )
        kind(transformers.Wav2Vec2Config(**size, **more)).save_pretrained(tmp_path / folder)
        extractor.save_pretrained(tmp_path / folder)
        tokenizer.save_pretrained(tmp_path / folder)
    x = speech(1.0, 3, espeak=False)
    said = transcriber(f"huggingface:{tmp_path / 'words'}")(x, 16000)
    assert set(said.replace("<unk>", "")) <= set("ab ")
    voice = embedder(f"huggingface:{tmp_path / 'voice'}")(x, 16000)
    assert voice.ndim == 1 and np.isfinite(voice).all() and voice.any()


def test_what_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="huggingface:MODEL"):
        transcriber("sphinx")
    with pytest.raises(EdgeEnhanceError, match="no_such_module"):
        embedder("no_such_module:f")
    pytest.importorskip("transformers")
    with pytest.raises(EdgeEnhanceError, match="cannot load the Hugging Face model"):
        transcriber(f"huggingface:{tmp_path}")
