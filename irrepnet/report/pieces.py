"""The phrases that all sections of a report share: a picture with how to read it, a verdict, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from irrepnet.report.data import ReportData
from irrepnet.report.figures import png_bytes
from irrepnet.report.page import Html, badge, figure, paragraph

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NOTHING", "absent", "number", "picture", "share", "verdict"]

NOTHING = "–"


def picture(make: Callable[[], Figure], alt: str, caption: str) -> Html:
    """Draw a figure; where it cannot be, or matplotlib is not installed, say so: the page is worth having without.

    Args:
        make: Draws it.
        alt: What it shows, for those who cannot see it.
        caption: How to read it.
    """
    try:
        with _plain_text():
            return figure(png_bytes(make()), alt, caption)
    except ImportError as error:
        return paragraph(f"{alt}: {error}")
    except Exception as error:  # a picture must not lose the results of a run that has ended: the page says what failed
        return paragraph(f"{alt}: could not be drawn ({type(error).__name__}: {error}).")


def _plain_text() -> AbstractContextManager[object]:
    """Take ``$`` in names of groups, targets and units as it is, not as the beginning of a formula."""
    import matplotlib

    return matplotlib.rc_context({"text.parse_math": False})


def absent(data: ReportData, part: str, what: str) -> Html:
    """Say that a part is missing, with the reason where it is known."""
    reason = data.missing.get(part)
    return paragraph(f"{what}: {reason}." if reason else f"{what}.", soft=True)


def verdict(what: str, is_good: bool, words: str) -> Html:
    """Say in words whether something is as it should be."""
    return paragraph(badge(is_good, "PASS" if is_good else "FAIL") + f" {what}: {words}")


def number(value: float | None, form: str = ".2f") -> str:
    """Return a number as a cell shows it; a dash where it is not known.

    Example:
        >>> number(-1.234), number(float("nan"))
        ('−1.23', '–')
    """
    return NOTHING if value is None or np.isnan(value) else format(value, form).replace("-", "−")


def share(value: float) -> str:
    """Return a share as a cell shows it.

    Example:
        >>> share(0.051)
        '5.1 %'
    """
    return NOTHING if np.isnan(value) else f"{100 * value:.1f} %"
