"""Mode connectivity of fine-tuned language models, headless.

``question.parse`` asks, ``run.run`` answers, ``result.collect`` reads. Import what you need from its module:
a question alone needs neither torch nor pandas.
"""
