"""Manual review: people accept, reject or edit each harmful text before it enters the dataset.

The paper: "the generated samples are manually reviewed to ensure the incorrect responses are
plausible yet medically inaccurate".
"""
