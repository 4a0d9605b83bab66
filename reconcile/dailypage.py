"""The daily report as a page. Pure."""

from __future__ import annotations

from reconcile.daily import Daily
from reconcile.dailyreport import shown
from reconcile.page import as_html


def page(report: Daily) -> str:
    """Return the page."""
    return as_html(shown(report), report.now)
