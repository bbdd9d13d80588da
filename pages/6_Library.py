"""What was trained and computed here, to be opened, compared, kept and shared."""

from mcore.ui.guard import guarded
from mcore.ui.library.page import library
from mcore.ui.theme import set_up

set_up("Library", "Library")
with guarded():
    library()
