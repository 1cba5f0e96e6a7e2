"""Videos and clips are read from ids by what all ids of a file show, and never guessed."""

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmd_repro.data.clip_names import clip_names, plain

YOUTUBE = ("a-Bc_dE0fgX", "_Bc-dE1fg__", "0123456_789")
NAMES = {
    "youtube": YOUTUBE,
    "vimeo": ("25420", "25421", "9"),
    "own": ("video_0001", "video_0002", "s.3"),
    "short": "abc",
}
FORMS: dict[str, Callable[[str, int], str]] = {
    "VIDEO$_$CLIP": lambda v, c: f"{v}$_${c}",
    "VIDEO[CLIP]": lambda v, c: f"{v}[{c}]",
    "VIDEO_CLIP": lambda v, c: f"{v}_{c}",
    "VIDEO-CLIP": lambda v, c: f"{v}-{c:04d}",
    "VIDEO/CLIP": lambda v, c: f"{v}/{c}",
    "VIDEO CLIP": lambda v, c: f"{v} {c}",
    "VIDEO:CLIP": lambda v, c: f"{v}:clip{c}.mp4",
    "rows of VIDEO_CLIP, start, end": lambda v, c: f"{v}_{c}$_${c}.25$_${c + 1}",
    "rows of VIDEO, start, end": lambda v, c: f"{v}$_${c}.25$_${c + 1}.0",
    "VIDEO": lambda v, c: f"{v}#{c}",
}


def written(form: Callable[[str, int], str], videos: tuple[str, ...] | str, sizes: tuple[int, ...] = (9, 6, 6)) -> list:
    """Ids of three splits, each of which holds clips of every video."""
    number = count()
    return [[form(videos[i % len(videos)], next(number)) for i in range(size)] for size in sizes]


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("videos", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_field_names_its_videos(form, videos, as_bytes):
    """A form that is not read lets one speaker stand in train and test unseen."""
    ids = written(lambda v, c: f"b'{FORMS[form](v, c)}'" if as_bytes else FORMS[form](v, c), videos)
    if as_bytes and form == "VIDEO":
        ids = [[i.replace("#", "'#").removesuffix("'") for i in split] for split in ids]  # '#2' is the import's own
    names = clip_names(ids)
    assert names.form == form
    assert [[names.video(i) for i in split] for split in ids] == [
        [videos[i % len(videos)] for i in range(len(split))] for split in ids
    ]


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (lambda v, c: f"clip{c:05d}", "do not separate a video"),
        (lambda v, c: f"clip_{c:05d}", "is one name (clip)"),
        (lambda v, c: str(c), "do not separate"),
        (lambda v, c: f"{v}{c:02d}x", "do not separate"),
        (lambda v, c: f"own{c}_7", "another name for each clip"),
    ],
)
def test_ids_that_name_no_video_are_told_apart_from_those_that_do(form, why):
    """'No video in two splits' may only be said where videos are known."""
    ids = written(form, YOUTUBE)
    names = clip_names(ids)
    assert (names.told, why in names.why) == (False, True)
    assert names.video(ids[0][0]) == ids[0][0]


def test_the_name_of_the_split_is_no_video():
    """Numbered clips ('train_00017') would else be read as one video a split, and found clean."""
    ids = [[f"{split}_{i:05d}" for i in range(9)] for split in ("train", "valid", "test")]
    assert "is one name" in clip_names(ids).why


def test_one_odd_id_does_not_blind_the_check():
    """The file's form is what nearly all ids have; the odd one stands for itself."""
    ids = written(FORMS["VIDEO_CLIP"], NAMES["own"], (40, 20, 20))
    ids[0][3] = "broken"
    names = clip_names(ids)
    assert (names.form, names.video("broken"), names.video(ids[0][0])) == ("VIDEO_CLIP", "broken", "video_0001")


@pytest.mark.parametrize("mark", ["$_$", "_", "-", "[", "", ".mp4_", " ", "/clip"])
@pytest.mark.parametrize("videos", NAMES.values(), ids=NAMES)
def test_the_official_list_finds_its_clips_in_every_form(videos, mark):
    """Labels can be held against the list only for clips that are found in it; a wrong find would be a false alarm."""
    official = [f"{v}$_${c}" for v in videos for c in range(21)]
    ids = written(lambda v, c: f"{v}{mark}{c}" + ("]" if mark == "[" else ""), videos)
    names = clip_names(ids, official)
    number = count()
    for split in ids:
        for i, clip in enumerate(split):
            video, c = videos[i % len(videos)], next(number)
            glued = not mark and video[-1].isdigit()  # where the video ends cannot be seen
            assert names.listed(clip) == (None if glued else f"{video}$_${c}")
    assert not names.listed or clip_names(ids, ["else$_$0"]).listed(ids[0][0]) is None


def test_rows_are_found_in_the_list_by_their_name_and_not_by_their_start():
    """MulT's start and end are seconds: read as clip numbers they would match wrong clips."""
    official = [f"{v}$_${c}" for v in YOUTUBE for c in range(30)]
    rows = [[f"{v}_{c}$_${c + 1}$_${c + 2}" for v in YOUTUBE for c in (3, 4)]]
    assert {clip_names(rows, official).listed(i) for i in rows[0]} == {f"{v}$_${c}" for v in YOUTUBE for c in (3, 4)}
    bare = [[f"{v}$_${c}$_${c + 2}" for v in YOUTUBE for c in (3, 4)]]
    assert {clip_names(bare, official).listed(i) for i in bare[0]} == {None}


@given(st.lists(st.lists(st.text(min_size=1), max_size=8), min_size=1, max_size=3), st.lists(st.text(), max_size=3))
def test_any_text_is_an_id(ids, official):
    """Ids are a stranger's text: every one has an answer, and equal ids have equal videos."""
    names = clip_names(ids, official)
    assert all(names.video(i) for split in ids for i in split if plain(i))
    assert names.told or names.why
