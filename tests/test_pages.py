"""The pages for users and developers: links lead somewhere, and what they say of the product is true of it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from napari_sam2.workbench.commands import KEYED

ROOT = Path(__file__).parents[1]
USER_PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = (*USER_PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "development").glob("*.md")))
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
MOST_BYTES = 2_000_000
"""Of a picture in a page: people read them on slow lines, too."""


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", prose(page), flags=re.MULTILINE):
        text = LINK.sub(r"\2", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = found.get(anchor, 0)
        found[anchor] = number + 1
        made.add(f"{anchor}-{number}" if number else anchor)
    return made


def links(page: Path) -> list[tuple[bool, str, str]]:
    """Whether a picture is shown, with which words, and where the link leads; those inside of the repository."""
    text = re.sub(r"`[^`\n]*`(?![^\[\]]*\]\()", "", prose(page))
    found = [(bool(mark), words, target) for mark, words, target in LINK.findall(text)]
    found += [(True, "", target) for target in re.findall(r"<(?:img|source)\b[^>]*\bsrc(?:set)?=\"([^\"]+)\"", text)]
    return [one for one in found if not re.match(r"[a-z]+:", one[2])]


def place(page: Path, target: str) -> tuple[Path, str]:
    """The file that a link leads to, and the anchor in it."""
    path, _, anchor = target.partition("#")
    return ((page.parent / unquote(path)).resolve() if path else page), anchor


def test_there_are_pages_with_links_to_follow():
    assert sum(len(links(page)) for page in PAGES) > 20
    assert any(place(page, target)[1] for page in PAGES for _, _, target in links(page))


@EACH_PAGE
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    for _, _, target in links(page):
        path, anchor = place(page, target)
        assert path.exists(), target
        assert ROOT in (path, *path.parents), target
        assert not anchor or anchor in anchors(path), target


@EACH_PAGE
def test_every_picture_can_be_opened_and_has_words_for_those_who_do_not_see_it(page):
    for is_picture, words, target in links(page):
        if is_picture:
            path, _ = place(page, target)
            assert path.stat().st_size <= MOST_BYTES
            with Image.open(path) as picture:
                picture.verify()
            assert len(words.split()) >= 3 or target.endswith(".svg"), target


def test_the_moving_picture_moves_and_lasts_some_seconds():
    with Image.open(ROOT / "docs" / "film.webp") as film:
        times = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            times.append(film.info["duration"])
    assert len(times) > 20
    assert 5_000 <= sum(times) <= 12_000


def test_pages_for_users_lead_to_none_for_developers_but_from_the_last_section_of_the_readme():
    readme = ROOT / "README.md"
    before, more = readme.read_text(encoding="utf-8").split("## More")
    assert "docs/development/" in more
    assert "docs/development/" not in before
    for page in USER_PAGES:
        if page != readme:
            assert [target for _, _, target in links(page) if "development/" in place(page, target)[0].as_posix()] == []


PROJECT_TALK = ("in a better hour", "wanted", "roadmap", "planned", "for now", "not yet", " yet", "milestone", "TODO")


@pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)
def test_pages_for_users_tell_what_is_and_not_what_is_going_to_be(page):
    text = " ".join(prose(page).split())
    assert [words for words in PROJECT_TALK if words in text] == []


def test_the_panel_s_page_has_every_key_and_no_other():
    text = (ROOT / "docs" / "panel.md").read_text(encoding="utf-8")
    _, table = text.split("## Keys")
    keys = re.findall(r"^\| `([^`]+)` \|", table, flags=re.MULTILINE)
    assert sorted(keys) == sorted(command.shortcut for command in KEYED)


@pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)
def test_keys_that_are_named_on_the_way_are_keys(page):
    named = set(re.findall(r"`((?:Ctrl\+|Shift\+)*[A-Z,.])`", prose(page)))
    assert named <= {command.shortcut for command in KEYED}
