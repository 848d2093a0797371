import dataclasses
import json

import numpy as np
import pytest
import soxr

from data_prep.__main__ import main
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.clips.speech import check_recogniser, load_recogniser, transcribe
from data_prep.errors import CorpusError
from data_prep.media.remarks import WORDS_UNTIMED, Remark
from data_prep.synthetic.plan import plan_corpus
from data_prep.synthetic.voice import RATE, render_voice
from tests.data_prep.conftest import tone, write_video

CALLS: list[int] = []
OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar", asr=f"{__name__}:stub")


def stub():
    """Returns a recogniser whose text is the number of samples that it received."""

    def recognise(audio: np.ndarray) -> str:
        CALLS.append(len(audio))
        return f" heard {len(audio)} samples "

    return recognise


@pytest.fixture
def sound(tmp_path):
    return write_video(tmp_path / "a.wav", None, sound=tone(0.5), codecs=("", "pcm_s16le"))


def test_only_clips_with_unknown_words_are_transcribed(sound):
    texts = [
        read_clip(ClipSource("a", sound, transcript=known), OPTIONS).example["transcript"]
        for known in (None, "", " Yes. ")
    ]
    assert texts == ["heard 8000 samples", "", "Yes."]


def test_a_clip_is_transcribed_once(sound, tmp_path):
    CALLS.clear()
    for _ in range(2):
        read_clip(ClipSource("a", sound), OPTIONS, tmp_path / "asr")
    assert CALLS == [8_000]
    other = np.ones(8_000, np.int16)
    assert transcribe(other, OPTIONS.asr, "", tmp_path / "asr").text == "heard 8000 samples"
    assert len(CALLS) == len(list((tmp_path / "asr").iterdir())) == 2


def timed_stub():
    """Returns a recogniser with times of words; those of a long sound are impossible."""
    return lambda audio: ("So funny", [("So", 0.25, 0.5), (" funny", 0.5, 1.0 if len(audio) < 10_000 else 0.4)])


def test_times_of_recognised_words_are_kept_also_in_the_cache(sound, tmp_path):
    options = dataclasses.replace(OPTIONS, asr=f"{__name__}:timed_stub")
    for _ in range(2):
        example = read_clip(ClipSource("a", sound), options, tmp_path / "asr").example
        assert example["transcript"] == "So funny"
        np.testing.assert_array_equal(example["word_times"], np.array([[0.25, 0.5], [0.5, 1.0]], np.float32))
    assert len(list((tmp_path / "asr").iterdir())) == 1
    example = read_clip(ClipSource("a", sound, transcript="So funny"), options).example
    assert example["word_times"].shape == (0, 2)


def test_impossible_times_of_recognised_words_are_dropped_with_a_remark(tmp_path):
    longer = write_video(tmp_path / "b.wav", None, sound=tone(1.0), codecs=("", "pcm_s16le"))
    options = dataclasses.replace(OPTIONS, asr=f"{__name__}:timed_stub")
    example, remarks, _ = read_clip(ClipSource("b", longer), options)
    assert example["transcript"] == "So funny"
    assert example["word_times"].shape == (0, 2)
    assert Remark(WORDS_UNTIMED, "a word that starts before 0 s or ends before it starts") in remarks


def test_a_damaged_cache_file_is_rewritten(sound, tmp_path):
    CALLS.clear()
    for content in (None, b"", b"[1]", b'{"text": "cut'):
        for path in (tmp_path / "asr").glob("*"):
            path.write_bytes(content)
        example, _, _ = read_clip(ClipSource("a", sound), OPTIONS, tmp_path / "asr")
        assert example["transcript"] == "heard 8000 samples"
    assert len(CALLS) == 4


def test_silence_is_not_transcribed(tmp_path):
    CALLS.clear()
    path = write_video(tmp_path / "a.mkv", [0.0, 0.1], sound=0 * tone(1.0), codecs=("libx264", "pcm_s16le"))
    assert read_clip(ClipSource("a", path), OPTIONS).example["transcript"] == ""
    assert CALLS == []


def test_a_clip_without_sound_is_not_transcribed(tmp_path):
    silent = write_video(tmp_path / "v.mp4", [0.0, 0.1])
    assert read_clip(ClipSource("a", silent), OPTIONS).example["transcript"] == ""


def test_missing_functions_and_packages_are_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(CorpusError, match=r"--asr=nowhere:f: .*expected MODULE:FUNCTION"):
        check_recogniser("nowhere:f")
    with pytest.raises(CorpusError, match="--asr-language=en: only Whisper models accept a language"):
        check_recogniser("json:loads", "en")
    arguments = ["data_prep", "--corpus=folder", "--detector=haar", f"--source={tmp_path}", f"--out={tmp_path / 'out'}"]
    monkeypatch.setattr("sys.argv", [*arguments, "--asr=nowhere:f"])
    assert main() == 2
    assert capsys.readouterr().err.startswith("error: --asr=nowhere:f: ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"needs the package faster-whisper: pip install -r requirements-asr.txt"):
        check_recogniser("small.en")


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("faster_whisper")
    (tmp_path / "config.json").touch()
    with pytest.raises(CorpusError, match=r"found no model.bin, expected a Whisper model in CTranslate2's format"):
        check_recogniser(str(tmp_path))


@pytest.mark.filterwarnings("ignore")
def test_whisper_model_with_random_weights_is_loaded_and_run(tmp_path):
    """The real library loads the model and transcribes a clip; the words are meaningless."""
    pytest.importorskip("faster_whisper")
    folder = _tiny_whisper(tmp_path)
    check_recogniser(str(folder))
    (plan,) = plan_corpus({"train": 1}, seed=3)  # the voice detector skips a plain tone
    voice = soxr.resample(render_voice(plan), RATE, 16_000)
    text, words = load_recogniser(str(folder))((voice * 32767).astype(np.int16))
    assert isinstance(text, str)
    assert words  # random weights align them to the sound at random
    assert all(0 <= start <= end <= len(voice) / 16_000 + 0.1 for _, start, end in words)
    assert load_recogniser(str(folder)) is load_recogniser(str(folder))
    assert load_recogniser(str(folder), "en")(np.zeros(16_000, np.int16)) == (
        "",
        [],
    )  # the voice detector skips silence
    with pytest.raises(CorpusError, match=r"--asr-language=xx: not supported by .*, expected one of .*en"):
        load_recogniser(str(folder), "xx")


def _tiny_whisper(tmp_path):
    """A CTranslate2 folder with a Whisper model of one layer, made by the library's own converter."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizers, converters = pytest.importorskip("tokenizers"), pytest.importorskip("ctranslate2.converters")
    specials = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|translate|>", "<|startoflm|>"]
    specials += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", *(f"<|{n * 0.02:.2f}|>" for n in range(1501))]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, *specials])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    end = vocabulary["<|endoftext|>"]
    config = transformers.WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
        decoder_attention_heads=1, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=end + 1,
        eos_token_id=end, pad_token_id=end, bos_token_id=end, begin_suppress_tokens=None, suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(0)
    source = tmp_path / "source"
    transformers.WhisperForConditionalGeneration(config).save_pretrained(source)
    fast = transformers.WhisperTokenizerFast(tokenizer_object=tokenizer, unk_token="<|endoftext|>")
    fast.save_pretrained(source)
    (source / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80}))
    target = tmp_path / "model"
    converters.TransformersConverter(str(source)).convert(str(target))
    tokenizer.save(str(target / "tokenizer.json"))
    return target
