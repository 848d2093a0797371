"""Finds the clips of a corpus, by the name that the command line uses."""

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.corpora import Corpus
from data_prep.corpora.cremad import RATINGS, read_cremad
from data_prep.corpora.feature_files import FeatureRequest, join_features
from data_prep.corpora.folder import read_folder
from data_prep.corpora.meld import read_meld
from data_prep.corpora.ravdess import VOCAL, read_ravdess
from data_prep.corpora.synthetic import COUNTS, SEED, read_synthetic, write_synthetic
from data_prep.corpora.vidmimic2 import read_vidmimic2
from data_prep.errors import CorpusError

CORPORA = ("synthetic", "vidmimic2", "folder", "cremad", "ravdess", "meld")


@dataclasses.dataclass(frozen=True)
class Request:
    """Which corpus to read, as given on the command line.

    Attributes:
        corpus: one of CORPORA.
        source: folder of the raw corpus; the synthetic corpus is first written there.
        labels: the table of a `folder` corpus; `labels.csv` in the source by default.
        label_range: lowest and highest label of a `folder` corpus.
        label_columns: the columns of a `folder` corpus that are labels; if empty, all but the reserved ones.
        recursive: whether a `folder` corpus has clips in subfolders.
        transcripts: a table, JSON file or folder with the clips' words.
        counts: clips per split of the synthetic corpus.
        seed: random seed of the synthetic corpus' content.
        ratings: the condition of CREMA-D whose ratings are the labels, one of RATINGS.
        vocal: what is read of RAVDESS, one of VOCAL.
        features: by modality, where the user's own features are.
    """

    corpus: str
    source: Path | None
    labels: Path | None = None
    label_range: tuple[float, float] = (0.0, 1.0)
    label_columns: tuple[str, ...] = ()
    recursive: bool = False
    transcripts: Path | None = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=lambda: COUNTS)
    seed: int = SEED
    ratings: str = "audiovisual"
    vocal: str = "both"
    features: Mapping[str, FeatureRequest] = dataclasses.field(default_factory=dict)


def read_corpus(request: Request, processes: int = 1, bar: Any = None, write: bool = True) -> Corpus:
    """Finds the clips of a corpus; the synthetic corpus is first written if it is missing.

    Args:
        request: the corpus.
        processes: number of processes that write the synthetic corpus.
        bar: shows the progress of writing it.
        write: whether the synthetic corpus may be written.

    Raises:
        CorpusError: the corpus is unusable in its present form.
    """
    if request.corpus not in CORPORA:
        raise CorpusError(f"corpus: found {request.corpus!r}, expected one of {', '.join(CORPORA)}")
    for option, found, known in (("ratings", request.ratings, RATINGS), ("vocal", request.vocal, VOCAL)):
        if found not in known:
            raise CorpusError(f"{option}: found {found!r}, expected one of {', '.join(known)}")
    if request.source is None:
        raise CorpusError(f"corpus {request.corpus}: found no source, expected --source=DIR with its clips")
    features = [own.path for own in request.features.values()]
    if request.corpus == "synthetic":
        if write:
            write_synthetic(request.source, request.counts, request.seed, processes, bar)
        corpus = read_synthetic(request.source)
    elif request.corpus == "vidmimic2":
        corpus = read_vidmimic2(request.source, request.transcripts, features)
    elif request.corpus == "cremad":
        corpus = read_cremad(request.source, request.ratings)
    elif request.corpus == "ravdess":
        corpus = read_ravdess(request.source, request.vocal)
    elif request.corpus == "meld":
        corpus = read_meld(request.source)
    else:
        corpus = read_folder(
            request.source,
            request.labels,
            request.label_range,
            request.transcripts,
            request.label_columns,
            request.recursive,
            features,
        )
    if request.features:
        joined = join_features(corpus.clips, request.features)
        corpus = dataclasses.replace(
            corpus, clips=joined.clips, features=joined.schemas, notes=(*corpus.notes, *joined.notes)
        )
    counts = collections.Counter((clip.split, clip.id) for clip in corpus.clips)
    if twice := [f"{name} in {split}" for (split, name), count in counts.items() if count > 1]:
        raise CorpusError(f"{request.source}: found clip {twice[0]} more than once, expected once")
    return corpus
