"""When an action that has hours may act: the author's hours, or the subject's own best ones, as engine time.

Owns the one answer that deciding, waiting and explaining share. Pure: the local offset comes with the moment (rule 15).
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.hours import MINUTE_MS, WEEK_MS, Hours, opens_at
from reflexarc_core.plan import Course
from reflexarc_core.purchase_window import best_hours, stretches
from reflexarc_core.record import Moment
from reflexarc_core.state import SubjectState

NO_HOURS: Final = "no hours of the week were learned: not waited"


def window_of(course: Course, subject: SubjectState) -> tuple[Hours, ...]:
    """The hours outside of which this trigger's actions wait: the author's, or the subject's own best ones as of now. Empty for
    any: also where nothing was learned of hours, and then nothing waits.
    """
    policy = course.trigger.policy
    if not policy.best_hours or course.hours is None:
        return policy.window
    week = (subject.weeks or {}).get(course.weeks_of)
    return stretches(best_hours(course.hours, week.counts if week is not None else {}))


def opens_next(quiet: tuple[Hours, ...], window: tuple[Hours, ...], moment: Moment, now: int) -> int:
    """Engine time (ms) at which an action may be looked at again: `now` when it may act. Hours that leave no moment, which no
    build lets through, are looked at again in a week.

    No later than the next change of the local offset, behind which the hours lie elsewhere.
    """
    shift = moment.offset_minutes * MINUTE_MS
    opens = opens_at(quiet, window, now + shift)
    due_time = now + WEEK_MS if opens is None else opens - shift
    return min(due_time, moment.next_offset_time) if now < moment.next_offset_time else due_time
