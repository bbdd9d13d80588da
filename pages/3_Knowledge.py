"""Which examples are mastered, forgotten and learned along the path."""

from mcore.ui.guard import guarded
from mcore.ui.knowledge.page import knowledge
from mcore.ui.theme import set_up

set_up("Knowledge", "Knowledge")
with guarded():
    knowledge()
