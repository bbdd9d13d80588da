"""Two recipes side by side, and how their training goes."""

from mcore.ui.finetune.page import finetune
from mcore.ui.guard import guarded
from mcore.ui.theme import set_up

set_up("Fine-tune", "Fine-tune")
with guarded():
    finetune()
