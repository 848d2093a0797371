from benchmarks.proofs.mutate_media import KINDS, outcomes, write_mutants


def test_broken_media_do_not_affect_other_clips(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    kinds = write_mutants(clips, 3 * len(KINDS), seed=1)
    found = outcomes(clips, tmp_path / "out", kinds, processes=2, time_limit=60.0)
    assert sum(map(len, found.values())) == len(kinds)
    for kind in ("empty", "text", "zero frames", "zero-length audio"):
        assert len(found[kind, "left out"]) == 3
    assert len(found["another format's ending", "remarked on"]) == 3
    assert not (tmp_path.parent / "outside.mp4").exists()
