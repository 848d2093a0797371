"""Speech recognition for clips without a transcript: `--asr=MODEL`.

A recogniser is any function from int16 [samples] at 16 kHz to text, or to a text and the pieces of it, such as words,
each with its start and end in seconds: (text, [(piece, start, end), ...]). MODEL is a folder with a Whisper model in
CTranslate2's format or its name on the hub (`small.en`, `Systran/faster-whisper-small`), both read by the package
faster-whisper; or MODULE:FUNCTION, which is called once in each worker process and returns a recogniser. Clips without
audible sound are never passed to a recogniser, and Whisper skips what its voice detector classifies as silence or
noise, where it would hallucinate words.
"""

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data_prep.clips.plugins import load_function
from data_prep.clips.word_times import Span, Words, timed
from data_prep.errors import CorpusError
from emi_jax.files import write_json

Recognised = str | tuple[str, Sequence[tuple[str, float, float]]]
Recogniser = Callable[[np.ndarray], Recognised]
FILES = ("config.json", "model.bin", "tokenizer.json")


@functools.cache
def load_recogniser(model: str, language: str = "") -> Recogniser:
    """Loads a recogniser, once per process.

    Args:
        model: the value of `--asr`.
        language: code of the spoken language; "" lets a Whisper model detect it.

    Raises:
        CorpusError: see `check_recogniser`; or the model does not know the language.
    """
    check_recogniser(model, language)
    if ":" in model:
        return load_function(model, "--asr")()
    return _whisper(model, language)


def transcribe(audio: np.ndarray, model: str, language: str, cache: Path | None) -> Words:
    """Transcribes speech, with the times of the words if the recogniser gives them.

    Args:
        audio: int16 [samples] at 16 kHz.
        model: the value of `--asr`.
        language: the value of `--asr-language`.
        cache: folder that caches results by sound, model and language; None to cache nothing.
    """
    if cache is None:
        return _words(load_recogniser(model, language)(audio))
    cached = cache / f"{_key(audio, model, language)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or truncated: transcribe again
        stored = json.loads(cached.read_bytes())
        return Words(stored["text"], tuple((start, end) for start, end in stored["times"]), stored["untimed"])
    words = _words(load_recogniser(model, language)(audio))
    cache.mkdir(parents=True, exist_ok=True)
    write_json(cached, {"text": words.text, "times": words.times, "untimed": words.untimed})
    return words


def _words(recognised: Recognised) -> Words:
    text, pieces = (recognised, ()) if isinstance(recognised, str) else recognised
    return timed(text.strip(), [Span(*piece) for piece in pieces])


def _key(audio: np.ndarray, model: str, language: str) -> str:
    weights = Path(model) / "model.bin"
    version = f"{weights.stat().st_mtime_ns}" if weights.is_file() else ""
    return hashlib.sha256(f"{model} {version} {language} ".encode() + audio.tobytes()).hexdigest()


def check_recogniser(model: str, language: str = "") -> None:
    """Checks a model as far as possible without loading it.

    Raises:
        CorpusError: the function, the package or a file in the model's folder is missing, or a language is given
            together with a function.
    """
    if ":" in model:
        if language:
            raise CorpusError(f"--asr-language={language}: only Whisper models accept a language, not {model}")
        load_function(model, "--asr")
        return
    if importlib.util.find_spec("faster_whisper") is None:
        raise CorpusError(f"--asr={model}: needs the package faster-whisper: pip install -r requirements-asr.txt")
    folder = Path(model)
    if folder.is_dir() and (missing := [name for name in FILES if not (folder / name).is_file()]):
        raise CorpusError(
            f"--asr={model}: found no {missing[0]}, expected a Whisper model in CTranslate2's format "
            f"({', '.join(FILES)}); ct2-transformers-converter makes it from a Hugging Face folder"
        )


def _whisper(model: str, language: str) -> Recogniser:
    from faster_whisper import WhisperModel  # an optional extra

    whisper = WhisperModel(model, device="auto", compute_type="default", cpu_threads=1)  # clips are read in parallel
    if language and language not in whisper.supported_languages:
        known = ", ".join(sorted(whisper.supported_languages))
        raise CorpusError(f"--asr-language={language}: not supported by {model}, expected one of {known}")

    def recognise(audio: np.ndarray) -> Recognised:
        sound = audio.astype(np.float32) / 32768
        found, _ = whisper.transcribe(
            sound, language=language or None, beam_size=5, vad_filter=True, word_timestamps=True
        )
        segments = list(found)
        words = [(word.word, word.start, word.end) for segment in segments for word in segment.words or ()]
        return " ".join(segment.text.strip() for segment in segments), words

    return recognise
