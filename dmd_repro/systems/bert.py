"""The BERT of the starred rows: its name, its shape, and how it comes to a machine. No torch."""

from __future__ import annotations

AUTHORS_BERT = "google-bert/bert-base-uncased"  # what the starred rows fine-tune: 12 layers, width 768
BERT_BASE = "12x768-"  # how the fingerprint of a BERT of the starred rows' shape begins: layers x width


def how_to_get() -> str:
    """Say how a BERT comes to this machine."""
    name = AUTHORS_BERT.rpartition("/")[2]
    return (
        f"Fetch the authors' once with 'hf download {AUTHORS_BERT} --local-dir {name}', then name it: --bert {name} "
        "(or the environment's DMD_BERT); any folder that BertModel.from_pretrained reads will do"
    )
