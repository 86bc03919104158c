"""What the panel says, from how things stand: one table of states and sentences, the first that fits. No Qt.

A sentence has room on three lines of 45 letters. It says what is, then what to do, with the key that does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from napari_sam2.inference.time_left import progress_words
from napari_sam2.workbench import commands
from napari_sam2.workbench.choices import ClickMode
from napari_sam2.workbench.duplicates import duplicates_sentence
from napari_sam2.workbench.finding import add_words, found_sentence
from napari_sam2.workbench.tools import Tool
from napari_sam2.workspace.sentences import MOST_NAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam2.workbench.commands import Command
    from napari_sam2.workbench.duplicates import Duplicate
    from napari_sam2.workbench.finding import Found
    from napari_sam2.workbench.workbench import Workbench
    from napari_sam2.workspace.workspace import Workspace

MOST_LETTERS = 24
"""Letters of the name of an image in a sentence or on a button."""


class Doing(Enum):
    """What the model does."""

    NOTHING = auto()
    LOADING = auto()
    LOOKING = auto()
    SEARCHING = auto()
    ANSWERING = auto()
    FOLLOWING = auto()


@dataclass(frozen=True, slots=True)
class Unclear:
    """A mask that clicks alone, or a box alone, have not made clear.

    Attributes
    ----------
    object_id : int
        The object.
    confidence : float or None
        How sure it is; None if nothing was found.
    clicks : int
        How many clicks there were; 0 for a box.
    """

    object_id: int
    confidence: float | None
    clicks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """How things stand, as far as a sentence depends on it.

    Attributes
    ----------
    mode : ClickMode
        What a click beside all masks is.
    tool : Tool or None
        The tool in hand; None for one of napari's.
    selected : int
        The selected object.
    is_stack : bool
        Whether there are frames to propagate to.
    may_be_channels : bool
        Whether nothing tells if three planes are frames or channels.
    image, offered : str
        Name of the image in work, and of one that the user has chosen in the list of layers instead; empty for none.
    doing : Doing
        What the model does.
    model : str
        Its name.
    done, total, seconds_left
        How far a propagation is, or was when it was cancelled, as in `Status`.
    message : str
        An error, remark or question; empty for none.
    is_problem : bool
        Whether it says that something cannot be done.
    is_asked : bool
        Whether the user is asked if something is of a new object.
    found : Found or None
        What the model has found by itself and nobody has added.
    not_found : str
        Why there is nothing of the kind though it was searched for; empty if nobody has searched.
    num_committed : int
        Objects that are committed.
    committed_into : str
        Name of the layer they are in.
    is_begun : bool
        Whether there are prompts or masks that are not committed.
    unclear : Unclear or None
        The mask of the current object on this frame, if it is doubtful and from clicks or a box alone.
    duplicates : tuple of Duplicate
        Objects that are the same.
    is_followed : bool
        Whether any object was followed to other frames.
    outdated, unfollowed : tuple of int
        Objects with masks that are older than a prompt, and objects without a mask on some frames, as far as
        *Propagate* mends it.
    num_doubtful : int
        Masks that are doubtful.
    """

    mode: ClickMode = ClickMode.NEW_OBJECT
    tool: Tool | None = Tool.POINT_ON
    selected: int = 1
    is_stack: bool = False
    may_be_channels: bool = False
    image: str = ""
    offered: str = ""
    doing: Doing = Doing.NOTHING
    model: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""
    is_problem: bool = False
    is_asked: bool = False
    found: Found | None = None
    not_found: str = ""
    num_committed: int = 0
    committed_into: str = ""
    is_begun: bool = False
    unclear: Unclear | None = None
    duplicates: tuple[Duplicate, ...] = ()
    is_followed: bool = False
    outdated: tuple[int, ...] = ()
    unfollowed: tuple[int, ...] = ()
    num_doubtful: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that a button beside a sentence does.

    Attributes
    ----------
    text : str
        What stands on it.
    tip : str
        What it does, in a sentence.
    act : callable
        Does it, on a workbench.
    """

    text: str
    tip: str
    act: Callable[[Workbench], object]


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence, and what a button beside it does; without a button for None."""

    sentence: str
    offer: Offer | None = None


def advise(facts: Facts) -> Advice:
    """Return what to say: the first sentence of the table that fits, and the button that belongs to the facts."""
    sentence = next(filter(None, (rule(facts) for rule in _RULES)), "")
    if facts.is_asked:
        return Advice(sentence, _NEW_OBJECT)
    if facts.found is not None and sentence == _found(facts):
        return Advice(sentence, _of_found(facts.found))
    return Advice(sentence, _use_image(facts.offered) if facts.offered else None)


_NEW_OBJECT = Offer(
    f"{commands.NEW_OBJECT.name} ({commands.NEW_OBJECT.shortcut})",
    "Make it the first prompt of a new object.",
    lambda bench: bench.run(commands.NEW_OBJECT),
)


def _of_found(found: Found) -> Offer | None:
    if found.frame is not None:
        there = partial(_go_to, frame=found.frame)
        return Offer(f"Go to frame {found.frame}", "Show what was found.", lambda bench: bench.do(there))
    if not found.num_kept:
        return None
    return Offer(add_words(found.num_kept), f"{commands.ADD_FOUND.tip}.", lambda bench: bench.run(commands.ADD_FOUND))


def _go_to(work: Workspace, frame: int) -> None:
    work.show(frame)


def _use_image(name: str) -> Offer:
    return Offer(f"Use {_shortened(name)!r}", f"Segment {name!r}; what was begun is kept.", _use_offered)


def _use_offered(bench: Workbench) -> None:
    bench.use_offered()


# The table -----------------------------------------------------------------------------------------------------------


def _problem(facts: Facts) -> str:
    """Tell what cannot be done, or ask."""
    return facts.message if facts.is_problem or facts.is_asked else ""


def _remark(facts: Facts) -> str:
    return facts.message


def _progress(facts: Facts) -> str:
    """While the model works."""
    match facts.doing:
        case Doing.LOADING:
            return f"Loading {facts.model}…"
        case Doing.LOOKING:
            return f"Looking at {'this frame' if facts.is_stack else 'the image'} for the first time…"
        case Doing.SEARCHING:
            if facts.found is None or not facts.total:
                return f"Looking at {'this frame' if facts.is_stack else 'the image'} to find objects…"
            done = progress_words(facts.done, facts.total, "parts", facts.seconds_left)
            return f"Finding objects: {done}. {_counted(facts.found.num_kept, 'object')} found. You can go on working."
        case Doing.FOLLOWING if facts.total:
            done = progress_words(facts.done, facts.total, "frames", facts.seconds_left)
            return f"Propagating: {done}. You can go on working."
        case Doing.ANSWERING | Doing.FOLLOWING:
            return "Segmenting…"
    return ""


def _other_image(facts: Facts) -> str:
    if not facts.offered:
        return ""
    return f"The panel works on {_shortened(facts.image)!r}. Use {_shortened(facts.offered)!r}?"


def _found(facts: Facts) -> str:
    """Ask about what the model has found by itself."""
    return facts.not_found if facts.found is None else found_sentence(facts.found)


def _planes(facts: Facts) -> str:
    if facts.is_begun or facts.num_committed or not facts.may_be_channels:
        return ""
    return (
        "Are the three planes frames? If they are channels, right-click the layer > Split Stack. If not, click an "
        "object."
    )


def _first_click(facts: Facts) -> str:
    if facts.is_begun or facts.num_committed:
        return ""
    if facts.tool in _DRAWN:
        return f"{_DRAWN[facts.tool]} an object. {_INCLUDE}."
    if facts.tool is Tool.BRUSH:
        return f"Paint an object: what you paint is its mask. {_INCLUDE}."
    if facts.mode is ClickMode.NEW_OBJECT:
        find = f"{commands.FIND.shortcut} finds all"
        return f"Click each object once, or drag a box round it; {find}. A right click says what does not belong."
    return (
        "Click the object, or drag a box round it. Click again where something is missing, right-click what does not "
        "belong."
    )


def _committed(facts: Facts) -> str:
    if facts.is_begun:
        return ""
    it = "it" if facts.num_committed == 1 else "them"
    where = f"{_counted(facts.num_committed, 'object')} in {_shortened(facts.committed_into)}"
    return f"{where}. {_named(commands.EXPORT)} writes {it}; or click the next object."


def _stopped(facts: Facts) -> str:
    if not facts.total:
        return ""
    return f"Stopped at {facts.done} of {facts.total} frames. {_named(commands.PROPAGATE)} goes on."


def _unclear(facts: Facts) -> str:
    unclear = facts.unclear
    if unclear is None:
        return ""
    if not unclear.clicks:
        how_sure = f" ({unclear.confidence:.2f})" if unclear.confidence is not None else ""
        back = f"{commands.UNDO.shortcut} takes it back"
        what = f"Object {unclear.object_id} is not clear from this box{how_sure}"
        return f"{what}. Click on it, or {back}. To move the view, hold space and drag."
    clicks = "this click" if unclear.clicks == 1 else "these clicks"
    what = "was not found" if unclear.confidence is None else "is not clear"
    how_sure = "" if unclear.confidence is None else f" ({unclear.confidence:.2f})"
    another = f"{commands.ANOTHER_MASK.shortcut} shows another mask"
    return f"Object {unclear.object_id} {what} from {clicks}{how_sure}. Drag a box round it, or {another}."


def _duplicates(facts: Facts) -> str:
    return duplicates_sentence(facts.duplicates, is_stack=facts.is_stack)


def _first_masks(facts: Facts) -> str:
    """Objects are prompted, and none was followed."""
    if facts.is_followed:
        return ""
    go_on = f"{_named(commands.PROPAGATE)} follows all." if facts.is_stack else f"{_named(commands.COMMIT)} keeps all."
    if facts.tool in _DRAWN:
        return f"{_DRAWN[facts.tool]} the next object. {_INCLUDE}. {go_on}"
    if facts.tool is Tool.BRUSH:
        return f"The brush paints object {facts.selected}; {commands.NEW_OBJECT.shortcut} begins the next. {go_on}"
    if facts.tool is Tool.POINT_OFF:
        return f"Click what does not belong to object {facts.selected}. {_INCLUDE}. {go_on}"
    if facts.mode is ClickMode.NEW_OBJECT:
        more = f"{commands.SWITCH_CLICK_MODE.shortcut} lets clicks add to it"
        return f"Click the next object. Right-click what does not belong to this one; {more}. {go_on}"
    return (
        f"Click where something is missing, right-click what does not belong. {_named(commands.NEW_OBJECT)} begins the "
        f"next. {go_on}"
    )


def _outdated(facts: Facts) -> str:
    if not facts.outdated:
        return ""
    has, it = ("has", "it") if len(facts.outdated) == 1 else ("have", "them")
    return (
        f"{_objects(facts.outdated)} {has} newer prompts than the hatched frames. {_named(commands.PROPAGATE)} follows "
        f"{it} again."
    )


def _unfollowed(facts: Facts) -> str:
    if not facts.unfollowed:
        return ""
    is_, it = ("is", "it") if len(facts.unfollowed) == 1 else ("are", "them")
    return (
        f"{_objects(facts.unfollowed)} {is_} not followed to all frames yet. {_named(commands.PROPAGATE)} goes on with "
        f"{it}."
    )


def _doubtful(facts: Facts) -> str:
    if not facts.num_doubtful:
        return ""
    leads = f"{commands.NEXT_DOUBTFUL.shortcut} leads to {'it' if facts.num_doubtful == 1 else 'each'}"
    right, keep = commands.APPROVE.shortcut, _named(commands.COMMIT)
    doubtful = f"{_counted(facts.num_doubtful, 'mask')} doubtful"
    return f"{doubtful}: {leads}. Click to correct, {right} if it is right. {keep} keeps all."


def _done(facts: Facts) -> str:
    commit = _named(commands.COMMIT)
    return f"All objects are followed, and none is doubtful. Click where one is wrong. {commit} keeps the result."


_RULES: Sequence[Callable[[Facts], str]] = (
    _problem,
    _other_image,
    _progress,
    _remark,
    _found,
    _planes,
    _first_click,
    _committed,
    _stopped,
    _unclear,
    _outdated,
    _duplicates,
    _first_masks,
    _unfollowed,
    _doubtful,
    _done,
)
"""From what nobody may overlook to what is always true. Each is empty where it does not fit."""


# Words ---------------------------------------------------------------------------------------------------------------


def _named(command: Command) -> str:
    return f"{command.name} ({command.shortcut})"


_INCLUDE = f"{commands.TOGGLE_POLARITY.shortcut} takes Include"

_DRAWN = {
    Tool.BOX: "Drag a box round",
    Tool.LASSO: "Draw an outline round",
    Tool.SCRIBBLE: "Draw a line along",
}
"""What one does with tools that draw."""


def _objects(object_ids: Sequence[int]) -> str:
    few = ", ".join(map(str, object_ids[:MOST_NAMED]))
    more = len(object_ids) - MOST_NAMED
    return f"Object{'s' * (len(object_ids) > 1)} {few}{f' and {more} more' if more > 0 else ''}"


def _counted(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"
