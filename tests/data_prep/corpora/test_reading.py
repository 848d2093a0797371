import dataclasses

import pytest

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus, reading
from data_prep.corpora.reading import Request, read_corpus
from data_prep.corpora.synthetic import write_synthetic
from data_prep.errors import CorpusError
from tests.data_prep.conftest import COUNTS, write_table


def test_duplicate_clip_in_a_split_is_an_error(tmp_path, monkeypatch):
    clip = ClipSource("a", split="train")
    corpus = Corpus("folder", ("Joy",), (0.0, 1.0), (clip, dataclasses.replace(clip, split="test"), clip))
    monkeypatch.setattr(reading, "read_folder", lambda *arguments: corpus)
    with pytest.raises(CorpusError, match="found clip a in train more than once, expected once"):
        read_corpus(Request("folder", tmp_path))


def test_label_columns_and_recursive_are_passed_to_the_folder_corpus(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").touch()
    write_table(tmp_path / "labels.csv", ["Filename", "Joy", "Age"], ["sub/a.mp4", 50, 99])
    request = Request("folder", tmp_path, label_range=(0, 100), label_columns=("Joy",), recursive=True)
    corpus = read_corpus(request)
    assert (corpus.label_names, corpus.clips[0].labels, corpus.clips[0].video) == (
        ("Joy",),
        (0.5,),
        tmp_path / "sub/a.mp4",
    )


@pytest.mark.parametrize(("corpus", "source"), [("other", "."), ("folder", None)])
def test_an_unknown_corpus_or_no_source_is_an_error(corpus, source):
    with pytest.raises(CorpusError, match="expected"):
        read_corpus(Request(corpus, source))


@pytest.mark.parametrize("choice", [{"ratings": "both"}, {"vocal": "voice"}])
def test_an_unknown_choice_is_an_error_that_lists_the_known_ones(choice, tmp_path):
    with pytest.raises(CorpusError, match=r"found '(both|voice)', expected one of (audiovisual|speech), "):
        read_corpus(Request("cremad", tmp_path, **choice))


def test_synthetic_corpus_is_not_written_if_only_reading_is_allowed(tmp_path):
    with pytest.raises(CorpusError, match="found no synthetic corpus"):
        read_corpus(Request("synthetic", tmp_path / "new"), write=False)
    assert not (tmp_path / "new").exists()


def test_truncated_mark_of_a_synthetic_corpus_is_named(tmp_path):
    (tmp_path / "corpus.json").write_text('{"corpus": "synth')
    with pytest.raises(CorpusError, match=r"corpus.json: found broken JSON .*; delete"):
        write_synthetic(tmp_path, COUNTS)
