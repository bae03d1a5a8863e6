"""Every planted bug."""

from __future__ import annotations

from . import bugs_flash, bugs_paged_linear, bugs_variants

BUGS = [*bugs_flash.BUGS, *bugs_variants.BUGS, *bugs_paged_linear.BUGS]
