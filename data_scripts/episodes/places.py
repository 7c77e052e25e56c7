"""Finds where each episode begins in a video that several share: by counting frames, not by time stamps alone.

The time stamps of joined videos are sums of durations, and may drift: at 30 frames per second, 17 ms lead to a frame of
the neighbour. So frames are counted:

1. If the video has exactly as many frames as its episodes together, and the stamps ascend with their numbers, then the
   lengths say where each episode begins.
2. Otherwise something lies between or behind the episodes. Then each begin is counted from the one before by the
   difference of the two stamps, in which drift is small. Where that is not the time between two frames, this episode
   and all later ones are refused.

Episodes whose stretches overlap by more than half a frame are refused, unless 1. holds and they share less than half.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.entries import Episode

HALF = Fraction(1, 2)  # frame
SURE = Fraction(1, 4)  # frame: how far a step between two stamps may be from the time between two frames


class VideoPlaces:
    """The frames of a video, and which of them are each episode's.

    Args:
        video: Its path in messages.
        episodes: All that lie in it.
        times: Seconds of its frames, ascending.
        fps: Frames per second of the episodes.

    Attributes:
        starts: Number of the first frame by episode, or why it is unknown.
        notes: Sentences on what was found and did not prevent anything.
    """

    def __init__(self, video: str, episodes: Sequence[Episode], times: Sequence[Fraction], fps: Fraction) -> None:
        self.video, self.times, self.fps = video, times, fps
        ordered = sorted(episodes, key=lambda episode: (episode.start, episode.number))
        listed = sum(episode.length for episode in episodes)
        self.counted = listed == len(times) and ordered == sorted(episodes, key=lambda episode: episode.number)
        self.starts: dict[int, int | BadPairError] = self._claimed(ordered)
        (self._count if self.counted else self._step)(ordered)
        self.notes = self._drift(ordered)
        if listed != len(times):
            self.notes.append(f"{video} has {len(times)} frames, and its episodes list {listed} of them.")

    def frame_times(self, episode: Episode, frames: Sequence[int]) -> list[Fraction]:
        """Seconds of the video at which the frames of an episode with these numbers, from 0, are shown.

        Raises:
            BadPairError: It is not certain which frames they are, or the video ends before.
        """
        start = self.starts[episode.number]
        if isinstance(start, BadPairError):
            raise start
        for frame in frames:
            if start + frame >= len(self.times):
                raise BadPairError("broken video", self._end(frame))
            late = self.times[start + frame] - self.times[start] - frame / self.fps
            if not self.counted and abs(late) * self.fps > HALF:
                sentence = f"frame {frame} is {_ms(late)} ms away from where it should be in {self.video}"
                raise BadPairError("uncertain frames", sentence)
        return [self.times[start + frame] for frame in frames]

    def _end(self, frame: int) -> str:
        return f"{self.video} has {len(self.times)} frames and ends before frame {frame} of it"

    def _claimed(self, ordered: Sequence[Episode]) -> dict[int, int | BadPairError]:
        """Both of each two episodes that claim the same frames."""
        found: dict[int, int | BadPairError] = {}
        longest: Episode | None = None  # reaches furthest of those before
        for episode in ordered:
            if longest is not None:
                shared = longest.length - (episode.start - longest.start) * self.fps
                allowed = max(HALF, Fraction(min(longest.length, episode.length), 2)) if self.counted else HALF
                if shared > allowed:
                    for one, other in ((longest, episode), (episode, longest)):
                        sentence = f"episode {other.number} claims frames of {self.video} that are its own, too"
                        found.setdefault(one.number, BadPairError("frames claimed twice", sentence))
                if episode.start + episode.length / self.fps < longest.start + longest.length / self.fps:
                    continue
            longest = episode
        return found

    def _count(self, ordered: Sequence[Episode]) -> None:
        start = 0
        for episode in ordered:
            self.starts.setdefault(episode.number, start)
            start += episode.length

    def _step(self, ordered: Sequence[Episode]) -> None:
        last, stamp = 0, Fraction(0)  # of the episode before
        lost: BadPairError | None = None
        for episode in ordered:
            if episode.number in self.starts:
                continue
            step = episode.start - stamp
            start = last + round(step * self.fps)
            if start >= len(self.times):
                self.starts[episode.number] = BadPairError("broken video", self._end(0))
                continue
            off = Fraction(0) if lost else self.times[start] - self.times[last] - step
            if abs(off) * self.fps > SURE:
                sentence = (
                    f"its frames cannot be told: episode {episode.number} should begin at {float(episode.start):.3f} s "
                    f"of {self.video}, and the nearest frame is {_ms(off)} ms away"
                )
                lost = BadPairError("uncertain frames", sentence)
            self.starts[episode.number] = lost or start
            last, stamp = start, episode.start

    def _drift(self, ordered: Sequence[Episode]) -> list[str]:
        """A sentence on the stamps that are more than half a frame off."""
        off = {}
        for episode in ordered:
            start = self.starts[episode.number]
            if not isinstance(start, BadPairError) and start < len(self.times):
                off[episode.number] = episode.start - (self.times[start] - self.times[0])
        wrong = {number: late for number, late in off.items() if abs(late) * self.fps > HALF}
        if not wrong:
            return []
        most = max(wrong.values(), key=abs)
        by = "episodes' lengths, which add up to its frames" if self.counted else "steps from one stamp to the next"
        return [
            f"{self.video}: the time stamps of {len(wrong)} episodes, from episode {min(wrong)} on, are up to "
            f"{_ms(most)} ms off; frames are counted by the {by}."
        ]


def _ms(seconds: Fraction) -> str:
    return f"{abs(float(seconds)) * 1000:.0f}"
