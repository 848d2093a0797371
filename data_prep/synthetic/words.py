"""What the synthetic speakers say: sentences worded by the strength of each emotion, and the timing of each syllable.

The voice babbles: it has the same number and timing of syllables as the words, but random vowels, so that voice and
words share the emotion but not the spelling. Only an interjection is spoken as written.
"""

import dataclasses
import re

import numpy as np

# Emotion -> templates, and the phrases of each level from 1 up. Emotions of level 0 are not mentioned.
LEXICON: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "Admiration": (
        ("that was {}", "your {topic} is {}", "what a {} {topic}"),
        (
            ("nice", "neat", "decent"),
            ("lovely", "splendid", "impressive"),
            ("wonderful", "amazing", "brilliant"),
            ("breathtaking", "magnificent", "marvellous"),
        ),
    ),
    "Amusement": (
        ("it was {}", "this {topic} is {}", "you are {}"),
        (
            ("a bit silly", "slightly odd", "kind of cute"),
            ("rather funny", "quite amusing", "pretty comical"),
            ("so hilarious", "really ridiculous", "just hysterical"),
            ("making me laugh out loud", "cracking me up", "making me giggle"),
        ),
    ),
    "Determination": (
        ("I {} finish", "I {} win this", "we {} get there"),
        (
            ("may", "might", "could"),
            ("plan to", "want to", "mean to"),
            ("will surely", "will certainly", "shall"),
            ("absolutely must", "have to", "are bound to"),
        ),
    ),
    "Empathic Pain": (
        ("{}",),
        (
            ("I am sorry", "poor thing", "that must hurt"),
            ("my heart breaks for you", "it is heartbreaking", "I feel your agony"),
        ),
    ),
    "Excitement": (
        ("I am {}", "we feel {}", "everyone is {}"),
        (
            ("curious", "interested", "awake"),
            ("eager", "ready", "keen"),
            ("excited", "thrilled", "pumped"),
            ("electrified", "ecstatic", "exhilarated"),
        ),
    ),
    "Joy": (
        ("it makes me {}", "I feel {}", "that makes us {}"),
        (
            ("fine", "content", "okay"),
            ("glad", "happy", "pleased"),
            ("delighted", "cheerful", "joyful"),
            ("overjoyed", "blissful", "jubilant"),
        ),
    ),
}
TOPICS = ("song", "story", "game", "dance", "idea", "painting", "speech", "goal", "trick", "plan")
NEUTRAL = (
    "I see what you mean",
    "it is what it is",
    "let me think about it",
    "we can talk later",
    "that is how it goes",
    "I heard about the {topic}",
)
GESTURES = {"none": (), "nod": ("yes", "yeah", "sure"), "shake": ("no", "nope", "never")}
INTERJECTIONS = {"none": "", "a": "ah", "e": "hey", "i": "whee", "o": "oh", "u": "ooh"}

MOST_CLAUSES = 2
VOWELS = ("a", "e", "i", "o", "u")
PAUSE = 0.12
HELD = 0.40  # seconds for which an interjection is held


@dataclasses.dataclass(frozen=True)
class Syllable:
    """A syllable: start and end in seconds, and its vowel, one of a, e, i, o, u."""

    start: float
    end: float
    vowel: str


def levels(strengths: dict[str, float], step: float = 0.2) -> dict[str, int]:
    """The level of wording of each emotion in the lexicon, from strengths between about 0 and 1."""
    return {
        name: int(np.clip(np.ceil(strengths[name] / step - 0.4), 0, len(phrases)))
        for name, (_, phrases) in LEXICON.items()
    }


def compose(rng: np.random.Generator, level: dict[str, int], gesture: str, interjection: str) -> str:
    """Composes one or two English sentences that name the MOST_CLAUSES strongest emotions, at their levels."""
    clauses = []
    felt = sorted((name for name in level if level[name]), key=lambda name: -level[name] / len(LEXICON[name][1]))
    for name in felt[:MOST_CLAUSES]:
        templates, phrases = LEXICON[name]
        phrase = rng.choice(phrases[level[name] - 1])
        clauses.append(str(rng.choice(templates)).format(phrase, topic=rng.choice(TOPICS)))
    if not clauses:
        clauses = [str(rng.choice(NEUTRAL)).format(topic=rng.choice(TOPICS))]
    opening = [INTERJECTIONS[interjection]] if interjection != "none" else []
    opening += [str(rng.choice(GESTURES[gesture]))] if gesture != "none" else []
    first, rest = ", ".join([*opening, clauses[0]]), clauses[1:]
    text = first + "".join((", and " if k % 2 == 0 else ". ") + clause for k, clause in enumerate(rest))
    sentences = [sentence[0].upper() + sentence[1:] for sentence in text.split(". ")]
    return ". ".join(sentences) + ("!" if level["Excitement"] >= 3 else ".")


def speak(rng: np.random.Generator, text: str, pace: float, longest: float) -> list[Syllable]:
    """The timing and vowel of each syllable of a text.

    Args:
        rng: draws the vowels of everything but the interjection.
        text: the result of `compose`.
        pace: seconds per syllable.
        longest: latest end of the speech in seconds; it is sped up if necessary.
    """
    syllables, now = [], 0.25
    for word in re.findall(r"[a-zA-Z]+[,.!]?", text):
        bare = word.strip(",.!").lower()
        held = bare in INTERJECTIONS.values()
        for vowel in _vowels(bare):
            heard = vowel if held else str(rng.choice(VOWELS))
            syllables.append(Syllable(now, now + (HELD if held else pace), heard))
            now = syllables[-1].end
        if word[-1] in ",.!":
            now += PAUSE
    speed = min(1.0, longest / syllables[-1].end)
    return [Syllable(s.start * speed, s.end * speed, s.vowel) for s in syllables]


def _vowels(word: str) -> list[str]:
    """One vowel per syllable, guessed from spelling: close enough to English for a stylised voice."""
    groups = re.findall(r"[aeiouy]+", word)
    if len(groups) > 1 and re.search(r"[^aeiouyl]e$", word):  # the silent e of "nice"
        groups.pop()
    return [_sound(group) for group in groups] or ["e"]


def _sound(group: str) -> str:
    if group.startswith(("oo", "ou", "u")):
        return "u"
    if group.startswith(("ee", "ea", "ey", "y", "i")):
        return "i" if not group.startswith("ey") else "e"
    return group[0]
