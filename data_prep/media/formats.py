"""The supported container formats, by the names of FFmpeg's demuxers, and their usual file endings."""

from collections.abc import Mapping

from av.container import InputContainer

FORMATS: Mapping[str, str] = {
    # containers of pictures and sound
    "mov": "m4v m4b m4r f4v f4a qt amr psp lrv",
    "matroska": "mkv webm weba mka mk3d",
    "avi": "avi divx amv",
    "flv": "flv f4v",
    "live_flv": "flv",
    "mpegts": "ts mts m2ts m2t tod",
    "mpeg": "mpg mpeg mpe vob mod m2p mp2 tod",
    "asf": "wmv wma asf",
    "ogg": "ogg oga ogv ogm ogx opus spx",
    "mxf": "mxf",
    "gxf": "gxf",
    "nut": "nut",
    "rm": "rm rmvb ra",
    "wtv": "wtv",
    "dv": "dv dif",
    "ivf": "ivf",
    "vivo": "viv",
    "dhav": "dav",
    # sound
    "wav": "wav wave bwf rf64",
    "w64": "w64",
    "aiff": "aif aiff aifc",
    "au": "au snd",
    "caf": "caf",
    "voc": "voc",
    "vqf": "vqf",
    "nistsphere": "sph nist",
    "ircam": "sf ircam",
    "paf": "paf",
    "pvf": "pvf",
    "mp3": "mp3 mp2 mp1 mpa m2a mpga",
    "aac": "aac adts",
    "loas": "loas latm",
    "ac3": "ac3",
    "eac3": "eac3 ec3",
    "dts": "dts",
    "dtshd": "dtshd",
    "truehd": "thd",
    "mlp": "mlp",
    "flac": "flac",
    "amr": "amr awb",
    "amrnb": "amr",
    "amrwb": "awb",
    "ape": "ape",
    "tak": "tak",
    "tta": "tta",
    "wv": "wv",
    "mpc": "mpc",
    "mpc8": "mpc",
    "oma": "oma aa3",
    "shn": "shn",
    "qoa": "qoa",
    "dss": "dss",
    "lc3": "lc3",
    "iamf": "iamf",
    "gsm": "gsm",
    "g722": "g722",
    "g729": "g729",
    "afc": "afc",
    # raw video streams
    "h261": "h261",
    "h264": "h264 264 avc",
    "hevc": "hevc h265 265",
    "vvc": "vvc h266 266",
    "vc1": "vc1",
    "obu": "obu",
    "av1": "av1 obu",
    "m4v": "m4v",
    "mpegvideo": "m1v m2v mpv",
    "mjpeg": "mjpeg mjpg",
    "yuv4mpegpipe": "y4m",
}
"""Formats that refer to other files or addresses (playlists, manifests, image sequences) are excluded."""


def endings_of(container: InputContainer) -> set[str]:
    """The usual file endings of an open file's format, without the dot."""
    named = {ending for name in container.format.name.split(",") for ending in FORMATS.get(name, "").split()}
    return named | set(container.format.extensions)
