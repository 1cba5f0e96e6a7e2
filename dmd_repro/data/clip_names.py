"""Which video and which clip an id names, told by evidence over all ids of a file.

One form holds for the whole file: `VIDEO$_$CLIP` (MMSA), rows of a name, start and end (MulT on CMU-MOSI),
`VIDEO[CLIP]` (CMU SDK), `VIDEO_CLIP` and its kin, or videos alone. Where no form holds, videos cannot be told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Pair = tuple[str, str]  # video, clip

_TWIN = re.compile(r"#\d+$")  # added by the import to ids that a split repeats
_AS_TEXT = re.compile(r"b(['\"])(.*)\1", re.DOTALL)  # bytes written as str(b'...')
_ENDING = r"\.(?:mp4|avi|mkv|mov|flv|webm|wav|mp3|npy|txt|csv)"
_FILE = re.compile(rf"{_ENDING}$", re.IGNORECASE)
_JOINED = "$_$"  # of MMSA's ids, and of the parts of a row
_BRACKET = re.compile(r"(.+)\[(\w+)\]")
_YOUTUBE = re.compile(r"([\w-]{11})_(\d+)", re.ASCII)
_CLIP = r"(?:clip|seg(?:ment)?|utt(?:erance)?|part|sent(?:ence)?)?\d+"
_NUMBERED = re.compile(rf"(.+)([\W_])({_CLIP})", re.IGNORECASE)
_AFTER = re.compile(rf"(?:{_ENDING})?([\W_]*)({_CLIP})\]?", re.IGNORECASE)  # what follows a video of the list
_ALONE = 0.7  # share of a split's ids that differ, below which they name videos and not clips
_NEARLY = 0.95  # share of ids that have a form, from which on it is the file's


@dataclass(frozen=True, slots=True)
class ClipNames:
    """Video and clip of each id; where `form` is empty no video can be told, and `why` says what speaks against it."""

    pairs: Mapping[str, Pair]
    form: str = ""
    why: str = ""
    _listed: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether ids name videos."""
        return bool(self.form)

    @property
    def clips(self) -> bool:
        """Whether ids name a clip of the video, and not the video alone."""
        return any(clip for _, clip in self.pairs.values())

    def video(self, clip: str) -> str:
        """Return the video an id names; the id itself (without a '#2') where that cannot be told."""
        return self.pairs[clip][0]

    def listed(self, clip: str) -> str | None:
        """Return the official list's name of a clip, `VIDEO$_$CLIP`; None if it is not in the list, or none is read."""
        return self._listed.get(clip)

    def usual(self, clip: str) -> str:
        """Return `VIDEO$_$CLIP`, the list's where there is one."""
        return self._listed.get(clip) or _JOINED.join(filter(None, self.pairs[clip]))


def clip_names(splits: Iterable[Sequence[str]], official: Iterable[str] = ()) -> ClipNames:
    """Read the ids of a file, split by split; `official` are the names `VIDEO$_$CLIP` of the official list.

    An id that begins with a video of the list and ends in the number of one of its clips is that clip, whatever
    stands between; where the list has nearly all ids it also tells the videos.
    """
    parts = [list(split) for split in splits]
    find = _finder(official)
    listed = {clip: name for part in parts for clip in part if (name := find(plain(clip)))}
    form, pairs, why = _read([[plain(clip) for clip in part] for part in parts])
    whole = {clip: pairs[plain(clip)] for part in parts for clip in part}
    if listed and len(listed) >= _NEARLY * len(whole):
        form, why = form or "names of the official list", ""
        for clip, name in listed.items():
            video, _, number = name.partition(_JOINED)
            whole[clip] = (video, number)
    return ClipNames(whole, form, why, listed)


def plain(clip: str) -> str:
    """Return an id without what programs add to it: the '#2' of a repeated one, the b'' of bytes, a file's ending."""
    bare = _TWIN.sub("", clip)
    if found := _AS_TEXT.fullmatch(bare):
        bare = found[2]
    return _FILE.sub("", bare) or bare


def _read(parts: list[list[str]]) -> tuple[str, dict[str, Pair], str]:
    """Return the form, the pairs by id, and why there is no form."""
    total = sum(map(len, parts))
    names = {name for part in parts for name in part}
    pairs = {name: (name, "") for name in names}
    if marked := _most(names, _marked):
        if rows := _most(names, _row):  # MulT: the first part is VIDEO_CLIP, or the video
            form, inner, why = _read([[rows.get(name, (name,))[0] for name in part] for part in parts])
            return form and f"rows of {form}, start, end", pairs | {n: inner[row[0]] for n, row in rows.items()}, why
        return _shown(marked), pairs | marked, ""
    if sum(len(set(part)) for part in parts) <= _ALONE * total:
        return "VIDEO", pairs, ""
    youtube = _most(names, lambda name: _groups(_YOUTUBE, name))
    marks = Counter(match[2] for name in names if (match := _NUMBERED.fullmatch(name)))
    mark = "_" if youtube else max(marks, key=lambda m: marks[m], default="")
    numbered = youtube or _most(names, lambda name: _numbered(name, mark))
    if not numbered:
        return "", pairs, f"ids such as {min(names, default='')} do not separate a video from a clip"
    clips = Counter(video for video, _ in numbered.values())
    held = [{numbered[name][0] for name in part if name in numbered} for part in parts]
    if len(clips) < 2 or all(len(videos) < 2 for videos in held):
        return "", pairs, f"what stands before '{mark}' is one name ({min(clips)}) for all clips of a split"
    if max(clips.values()) < 2 and not youtube:
        return "", pairs, f"what stands before '{mark}' is another name for each clip"
    return f"VIDEO{mark}CLIP", pairs | numbered, ""


def _most(names: set[str], read: Callable[[str], Pair | None]) -> dict[str, Pair]:
    """Return what is read of each name that has the form; nothing unless nearly all have it."""
    pairs = {name: pair for name in names if (pair := read(name))}
    return pairs if len(pairs) >= _NEARLY * len(names) else {}


def _marked(name: str) -> Pair | None:
    video, mark, clip = name.partition(_JOINED)
    return (video, clip) if mark and video else _groups(_BRACKET, name)


def _groups(pattern: re.Pattern[str], name: str) -> Pair | None:
    match = pattern.fullmatch(name)
    return (match[1], match[2]) if match else None


def _numbered(name: str, mark: str) -> Pair | None:
    match = _NUMBERED.fullmatch(name)
    return (match[1], match[3]) if match and match[2] == mark else None


def _row(name: str) -> Pair | None:
    """Read a row of a name, start and end in seconds."""
    first, *ends = name.split(_JOINED)
    try:
        return (first, "-".join(ends)) if len(ends) == 2 and all(float(x) >= 0 for x in ends) else None
    except ValueError:
        return None


def _shown(names: Iterable[str]) -> str:
    return " and ".join(sorted({"VIDEO$_$CLIP" if _JOINED in name else "VIDEO[CLIP]" for name in names}))


def _finder(official: Iterable[str]) -> Callable[[str], str | None]:
    """Return a function from an id to the official name it must mean, if any."""
    clips: dict[Pair, str] = {}
    for name in official:
        video, _, clip = name.partition(_JOINED)
        clips[video, _number(clip)] = name
    videos = {video for video, _ in clips}

    def find(bare: str) -> str | None:
        for end in range(len(bare), 0, -1):
            video, rest = bare[:end], bare[end:]
            if video not in videos:
                continue
            match = _AFTER.fullmatch(rest if rest.startswith(_JOINED) else rest.split(_JOINED)[0])
            if match and (match[1] or not (video[-1].isdigit() and rest[0].isdigit())):
                name = clips.get((video, _number(match[2])))
                if name:
                    return name
        return None

    return find


def _number(clip: str) -> str:
    digits = re.sub(r"^\D+", "", clip)
    return str(int(digits)) if digits.isdigit() else clip
