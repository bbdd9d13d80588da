"""The pages' parts. The only room that knows Streamlit; everything that is not drawing stands outside it."""
