"""Language codes in the names of files with words, as downloaders and players write them: `a.en.srt`, `a.pt-BR.vtt`."""

_TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu iw ja jv ka kg ki
kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr
nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th
ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_THREE_LETTERS = """
ara ben bul cat ces cmn cze dan deu dut ell eng est eus fas fin fra fre ger gre heb hin hrv hun ice ind isl ita jpn kor
lav lit may msa nld nor per pol por ron rum rus slk slo slv spa srp swe tam tel tgl tha tur ukr und urd vie yue zho chi
"""
CODES = frozenset(_TWO_LETTERS.split() + _THREE_LETTERS.split())
"""ISO 639-1, and the most frequent codes of ISO 639-2; any three letters would be too often a part of a name."""


def split_language(name: str) -> tuple[str, str]:
    """Splits `NAME.CODE` or `NAME.CODE-REGION` into (NAME, code with region); the code is "" if there is none."""
    base, dot, tag = name.rpartition(".")
    code, *subtags = tag.lower().replace("_", "-").split("-")
    is_language = base and code in CODES and all(subtag.isalnum() and len(subtag) <= 8 for subtag in subtags)
    return (base, tag) if dot and is_language else (name, "")
