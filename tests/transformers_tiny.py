"""Tiny random models in the layout of the Hugging Face Hub, of the classes that the engines open."""

import json
from pathlib import Path

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINHSRDLUCMWFGYPBVKXJQZ'"]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def seeded():
    import torch

    torch.manual_seed(7)


def saved(model, folder, *others):
    model.eval().save_pretrained(folder)
    for other in others:
        other.save_pretrained(folder)
    return Path(folder)


def wave_extractor():
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(return_attention_mask=True)


def ctc(folder):
    """wav2vec2 with letters as tokens."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2ForCTC, Wav2Vec2Processor

    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    seeded()
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(LETTERS), pad_token_id=0, **SMALL))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    return saved(model, folder, Wav2Vec2Processor(wave_extractor(), tokenizer))


def diarizer(folder, labels=2):
    """WavLM with an output for each speaker."""
    from transformers import WavLMConfig, WavLMForAudioFrameClassification

    seeded()
    model = WavLMForAudioFrameClassification(WavLMConfig(num_labels=labels, **SMALL))
    model.classifier.weight.data *= 400  # else all probabilities are near a half
    return saved(model, folder, wave_extractor())


def nemotron(folder):
    """Nemotron 3 Diarization with few layers."""
    import transformers

    seeded()
    kind = transformers.Nemotron3DiarizationConfig
    model = transformers.Nemotron3DiarizationForAudioFrameClassification(
        kind(
            audio_config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
            },
            head_config={"hidden_size": 16, "audio_hidden_size": 32},
        )
    )
    model.classifier.out_proj.weight.data *= 400
    from transformers.models.nemotron_asr_streaming import NemotronAsrStreamingFeatureExtractor

    return saved(model, folder, NemotronAsrStreamingFeatureExtractor(feature_size=128))


def ast(folder, labels):
    """AST over the labels given."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    seeded()
    config = ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_length=256,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    model = ASTForAudioClassification(config)
    model.classifier.dense.weight.data *= 40
    return saved(model, folder, ASTFeatureExtractor(max_length=256))


def moonshine(folder):
    """Text without times; its tokenizer is whisper's, which comes with a package."""
    from localmodels.make_whisper_hf import EOT, TEXT_END, tokenizer
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration, Wav2Vec2Processor

    words = tokenizer("PreTrainedTokenizerFast", pad_token=TEXT_END)
    seeded()
    config = MoonshineConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        decoder_start_token_id=EOT,
        bos_token_id=EOT,
        eos_token_id=EOT,
        pad_token_id=EOT,
    )
    processor = Wav2Vec2Processor(wave_extractor(), words)
    return saved(MoonshineForConditionalGeneration(config), folder, processor)


def whisper(folder):
    """Whisper with one layer, which says hardly anything."""
    from localmodels.make_whisper_hf import configuration, generation, tokenizer
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    dims = {"n_vocab": 51864, "n_mels": 80, "n_audio_ctx": 1500, "n_text_ctx": 448}
    sides = ("audio", "text")
    small = {"state": 32, "layer": 1, "head": 2}
    dims |= {f"n_{side}_{name}": size for side in sides for name, size in small.items()}
    seeded()
    model = WhisperForConditionalGeneration(configuration(dims, encoder_ffn_dim=64, decoder_ffn_dim=64))
    model.generation_config = generation(dims, max_length=16, alignment_heads=[[0, 0]])
    return saved(model, folder, tokenizer(), WhisperFeatureExtractor())


def parakeet(folder):
    """Parakeet TDT with few layers; each letter is a token."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = ["<pad>", "<unk>", "\u2581", *(f"\u2581{c.lower()}" for c in LETTERS[5:31])]
    pieces += [c.lower() for c in LETTERS[5:31]] + ["<blank>"]
    inner = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = transformers.ParakeetTokenizer(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=["<blank>"]
    )
    seeded()
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "subsampling_conv_channels": 16,
        "num_mel_bins": 80,
    }
    blank = pieces.index("<blank>")
    config = transformers.ParakeetTDTConfig(
        encoder_config=encoder,
        vocab_size=len(pieces),
        decoder_hidden_size=16,
        blank_token_id=blank,
        pad_token_id=0,
        decoder_start_token_id=blank,
    )
    model = transformers.ParakeetForTDT(config)
    model.joint.head.weight.data *= 20
    extractor = transformers.ParakeetFeatureExtractor(feature_size=80)
    return saved(model, folder, transformers.ParakeetProcessor(extractor, tokenizer, decoder_type="tdt"))
