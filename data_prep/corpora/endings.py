"""File endings that identify clips: those of the containers and raw streams that FFmpeg reads.

An ending only decides which files in a folder are clips. A file's format is detected from its content.
"""

_VIDEO = """
.mp4 .m4v .mov .qt .3gp .3g2 .mkv .mk3d .webm .avi .divx .flv .f4v .wmv .asf .mpg .mpeg .mpe .m1v .m2v .vob .mod
.ts .mts .m2t .m2ts .tod .mxf .gxf .ogv .ogm .nut .rm .rmvb .dv .dif .wtv .amv .lrv .ivf .obu .y4m .h264 .264
.avc .h265 .265 .hevc .h266 .266 .vvc .vc1 .h261 .mjpeg .mjpg .mj2 .ismv .dav .viv .psp
"""
_SOUND = """
.wav .wave .bwf .w64 .rf64 .mp3 .mp2 .mp1 .mpa .m4a .m4b .m4r .f4a .aac .adts .flac .ogg .oga .ogx .opus .spx
.wma .aif .aiff .aifc .au .snd .caf .amr .awb .ac3 .eac3 .ec3 .dts .thd .mlp .ape .wv .tta .tak .mpc .voc .shn
.mka .weba .ra .gsm .sph .nist .m2a .isma .dtshd .g722 .g729 .lc3 .qoa .iamf .oma .aa3 .dss .ircam
.sf .vqf .paf .pvf .afc
"""
VIDEO_ENDINGS, SOUND_ENDINGS = frozenset(_VIDEO.split()), frozenset(_SOUND.split())
MEDIA_ENDINGS = VIDEO_ENDINGS | SOUND_ENDINGS


def media_ending(name: str) -> str:
    """The media ending of a file name, in lower case; "" if it has none."""
    stem, dot, ending = name.rpartition(".")
    ending = f".{ending.lower()}"
    return ending if dot and stem and ending in MEDIA_ENDINGS else ""


def without_media_ending(name: str) -> str:
    """A file name without its media ending; any other dot belongs to the name."""
    return name[: len(name) - len(media_ending(name))]
