"""Makes a story that fails short: leaves out what it fails without."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.story import Action, Story


def shrunk(story: Story, fails: Callable[[Story], bool]) -> Story:
    """Return a story that still fails, and no longer if any one of its actions is left out."""
    size = max(len(story.actions) // 2, 1)
    while size:
        at = 0
        while at < len(story.actions):
            without = replace(story, actions=story.actions[:at] + story.actions[at + size :])
            if fails(without):
                story = without
            else:
                at += size
        size //= 2
    return simplified(story, fails)


def simplified(story: Story, fails: Callable[[Story], bool]) -> Story:
    """Return it with each action at once where it need not wait, and untold where nothing goes astray."""
    for number, action in enumerate(story.actions):
        for simpler in (action._replace(delay=0), plain(action)):
            actions = (*story.actions[:number], simpler, *story.actions[number + 1 :])
            if simpler != story.actions[number] and fails(replace(story, actions=actions)):
                story = replace(story, actions=actions)
    return story


def plain(action: Action) -> Action:
    """Return a change of an object as it is told in time."""
    fated = action.verb in {"put", "rewrite", "remove", "unversion"}
    return action._replace(args=(*action.args[:-1], "told")) if fated else action
