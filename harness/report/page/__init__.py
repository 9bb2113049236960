"""Everything that the store holds, as one HTML file that loads nothing."""

from harness.report.page.build import Page, page

__all__ = ["Page", "page"]
