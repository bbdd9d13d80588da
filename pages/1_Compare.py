"""Two endpoints, a path between them, and what happens along it."""

from mcore.ui.compare.page import compare
from mcore.ui.guard import guarded
from mcore.ui.theme import set_up

set_up("Compare", "Compare")
with guarded():
    compare()
