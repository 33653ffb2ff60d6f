"""What a checkpoint cannot see in the pictures that it is asked about, said before its answer."""

from collections.abc import Sequence

import streamlit as st

from models import Checkpoint
from models.pictures.drawn import is_drawn
from pages.shared.conversation.turns import PictureFile
from pages.shared.language import say, tr
from pages.shared.markdown import literal


def show_remark(checkpoint: Checkpoint | None, pictures: Sequence[PictureFile]) -> None:
    """Say of one that knows drawn scenes only which of the pictures are none."""
    if checkpoint is None or checkpoint.drawn_only is None:
        return
    strange = [
        f"{number} · {literal(picture.name)}"
        for number, picture in enumerate(pictures, 1)
        if not _is_drawn(picture.data)
    ]
    if strange:
        named = f"**{tr(', ', '、').join(strange)}**" + tr(": ", "：") if len(pictures) > 1 else ""
        st.warning(named + say(checkpoint.drawn_only), icon=":material/photo_camera:")


@st.cache_data(max_entries=256, show_spinner=False)
def _is_drawn(data: bytes) -> bool:
    return is_drawn(data)
