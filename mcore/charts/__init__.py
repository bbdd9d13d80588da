"""Charts, headless: data in, an Altair chart or a sentence out. Colours and scales come from one theme."""
