"""Finds the clips of any of the corpora, as the command line names them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.corpora import Corpus
from data_prep.corpora.folder import read_folder
from data_prep.corpora.synthetic import COUNTS, SEED, read_synthetic, write_synthetic
from data_prep.corpora.vidmimic2 import read_vidmimic2
from data_prep.errors import CorpusError

CORPORA = ("synthetic", "vidmimic2", "folder")


@dataclasses.dataclass(frozen=True)
class Request:
    """A corpus as a user asks for it.

    Attributes:
        corpus: one of CORPORA.
        source: folder of the raw corpus; of the synthetic one, the folder that it is written to first.
        labels: the CSV of a `folder` corpus; `labels.csv` in the source by default.
        label_range: lowest and highest label of a `folder` corpus.
        transcripts: CSV or JSON with the clips' words.
        counts: clips per split of the synthetic corpus.
        seed: of the synthetic corpus' content.
    """

    corpus: str
    source: Path | None
    labels: Path | None = None
    label_range: tuple[float, float] = (0.0, 1.0)
    transcripts: Path | None = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=lambda: COUNTS)
    seed: int = SEED


def read_corpus(request: Request, processes: int, bar: Any = None) -> Corpus:
    """The clips of a corpus; the synthetic one is written first where it is not there.

    Args:
        request: what is asked for.
        processes: that write the synthetic corpus.
        bar: shows the progress of that.

    Raises:
        CorpusError: the corpus cannot be used as it is.
    """
    if request.corpus not in CORPORA:
        raise CorpusError(f"corpus: found {request.corpus!r}, expected one of {', '.join(CORPORA)}")
    if request.source is None:
        raise CorpusError(f"corpus {request.corpus}: found no source, expected --source=DIR with its clips")
    if request.corpus == "synthetic":
        write_synthetic(request.source, request.counts, request.seed, processes, bar)
        return read_synthetic(request.source, request.transcripts)
    if request.corpus == "vidmimic2":
        return read_vidmimic2(request.source, request.transcripts)
    return read_folder(request.source, request.labels, request.label_range, request.transcripts)
