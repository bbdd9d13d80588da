"""The home page. ``streamlit run app.py`` starts the app; Streamlit finds the other pages in ``pages/``."""

from mcore.ui.guard import guarded
from mcore.ui.home import home
from mcore.ui.theme import TITLE, set_up

set_up(TITLE, "Home")
with guarded():
    home()
