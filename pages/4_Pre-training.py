"""The barrier between two tuned models, and how well two tasks are kept, by step of pre-training."""

from mcore.ui.guard import guarded
from mcore.ui.pretraining.page import pretraining
from mcore.ui.theme import set_up

set_up("Pre-training", "Pre-training")
with guarded():
    pretraining()
