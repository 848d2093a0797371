import os

from data_prep.files import unusable


def test_path_that_is_not_a_regular_file_is_named(tmp_path):
    (tmp_path / "good").write_bytes(b"x" * 2000)
    (tmp_path / "link").symlink_to(tmp_path / "good")
    (tmp_path / "broken").symlink_to("/nowhere/clip.mp4")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1\n")
    (tmp_path / "annex").write_text("/annex/objects/SHA256E-s1632292--" + "ab" * 32 + ".mp4\n")
    found = {path.name: unusable(path) for path in tmp_path.iterdir()} | {"none": unusable(tmp_path / "none")}
    pointer = "is a pointer file, not the clip itself; fetch the clip with git lfs pull or git annex get"
    assert found == {
        "good": "",
        "link": "",
        "broken": "is a link to /nowhere/clip.mp4, which does not exist",
        "folder": "is a folder, not a file",
        "pipe": "is a pipe, socket or device, not a file",
        "empty": "is an empty file",
        "lfs": pointer,
        "annex": pointer,
        "none": "no such file",
    }
    assert unusable(tmp_path / ("x" * 300)) == "cannot be opened (File name too long)"
